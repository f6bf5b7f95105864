// The agent protocol (see mm_agents.py) for the programs around Paho's C libraries.
#pragma once

#include <MQTTProperties.h>

#define MAX_FIELDS 32

typedef struct {
  const char* key;
  const char* value;
} Field;

// One line of the test: a client's name, a word, and fields. Points into the line.
typedef struct {
  const char* name;
  const char* word;
  Field fields[MAX_FIELDS];
  int count;
} Command;

// The next command; 0 when there is none. Valid until the next call.
int read_command(Command* command);
const char* text_field(const Command* command, const char* key, const char* fallback);
int number_field(const Command* command, const char* key, int fallback);
// The payload field's bytes; the caller frees them.
char* payload_field(const Command* command, const char* key, int* size);
// Adds the fields that are properties of a PUBLISH.
void add_publish_properties(const Command* command, MQTTProperties* properties);
// Adds those of a CONNECT.
void add_connect_properties(const Command* command, MQTTProperties* properties);

// One line to the test, from any thread.
void say(const char* name, const char* format, ...);
void say_message(const char* name, const char* topic, const char* payload, int size, int qos, int retain, int dup,
                 MQTTProperties* properties);

// The topic that an incoming alias stands for; learns it when the topic is there. `aliases` has MAX_ALIASES entries.
#define MAX_ALIASES 16
const char* resolve_alias(char** aliases, const char* topic, MQTTProperties* properties);
