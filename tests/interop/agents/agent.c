#include "agent.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SMALL_PAYLOAD 4096

static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;

static char* next_word(char** rest) {
  return strsep(rest, "\t");
}

int read_command(Command* command) {
  static char* line = NULL;
  static size_t capacity = 0;
  if (getline(&line, &capacity, stdin) <= 0) return 0;
  line[strcspn(line, "\n")] = '\0';
  char* rest = line;
  command->name = next_word(&rest);
  command->word = next_word(&rest);
  command->count = 0;
  while (rest != NULL && command->count < MAX_FIELDS) {
    char* value = next_word(&rest);
    Field* field = &command->fields[command->count++];
    field->key = strsep(&value, "=");
    field->value = value != NULL ? value : "";
  }
  return 1;
}

const char* text_field(const Command* command, const char* key, const char* fallback) {
  for (int i = 0; i < command->count; ++i) {
    if (strcmp(command->fields[i].key, key) == 0) return command->fields[i].value;
  }
  return fallback;
}

int number_field(const Command* command, const char* key, int fallback) {
  const char* text = text_field(command, key, NULL);
  return text != NULL ? atoi(text) : fallback;
}

static char* read_whole(const char* path, int* size) {
  FILE* file = fopen(path, "rb");
  if (file == NULL) abort();
  fseek(file, 0, SEEK_END);
  *size = (int)ftell(file);
  rewind(file);
  char* bytes = malloc((size_t)*size + 1);
  if (fread(bytes, 1, (size_t)*size, file) != (size_t)*size) abort();
  fclose(file);
  return bytes;
}

static char* from_hex(const char* text, int* size) {
  *size = (int)(strlen(text) / 2);
  char* bytes = malloc((size_t)*size + 1);
  for (int i = 0; i < *size; ++i) {
    const char pair[3] = {text[2 * i], text[2 * i + 1], '\0'};
    bytes[i] = (char)strtol(pair, NULL, 16);
  }
  return bytes;
}

char* payload_field(const Command* command, const char* key, int* size) {
  const char* text = text_field(command, key, "");
  return text[0] == '@' ? read_whole(text + 1, size) : from_hex(text, size);
}

static void add_text(MQTTProperties* properties, enum MQTTPropertyCodes code, const char* text) {
  MQTTProperty property = {.identifier = code};
  property.value.data.data = (char*)text;
  property.value.data.len = (int)strlen(text);
  MQTTProperties_add(properties, &property);
}

static void add_number(MQTTProperties* properties, enum MQTTPropertyCodes code, unsigned number) {
  MQTTProperty property = {.identifier = code};
  const int type = MQTTProperty_getType(code);
  if (type == MQTTPROPERTY_TYPE_TWO_BYTE_INTEGER) {
    property.value.integer2 = (unsigned short)number;
  } else {
    property.value.integer4 = number;
  }
  MQTTProperties_add(properties, &property);
}

static void add_user(MQTTProperties* properties, const char* text) {
  const char* colon = strchr(text, ':');
  MQTTProperty property = {.identifier = MQTTPROPERTY_CODE_USER_PROPERTY};
  property.value.data.data = (char*)text;
  property.value.data.len = (int)(colon - text);
  property.value.value.data = (char*)colon + 1;
  property.value.value.len = (int)strlen(colon + 1);
  MQTTProperties_add(properties, &property);
}

static void add_numbers(const Command* command, MQTTProperties* properties, const char* key,
                        enum MQTTPropertyCodes code) {
  const char* text = text_field(command, key, NULL);
  if (text != NULL) add_number(properties, code, (unsigned)strtoul(text, NULL, 10));
}

void add_publish_properties(const Command* command, MQTTProperties* properties) {
  const char* content_type = text_field(command, "content_type", NULL);
  const char* response_topic = text_field(command, "response_topic", NULL);
  if (content_type != NULL) add_text(properties, MQTTPROPERTY_CODE_CONTENT_TYPE, content_type);
  if (response_topic != NULL) add_text(properties, MQTTPROPERTY_CODE_RESPONSE_TOPIC, response_topic);
  if (text_field(command, "correlation_data", NULL) != NULL) {
    MQTTProperty property = {.identifier = MQTTPROPERTY_CODE_CORRELATION_DATA};
    property.value.data.data = payload_field(command, "correlation_data", &property.value.data.len);
    MQTTProperties_add(properties, &property);
    free(property.value.data.data);
  }
  add_numbers(command, properties, "expiry", MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL);
  add_numbers(command, properties, "alias", MQTTPROPERTY_CODE_TOPIC_ALIAS);
  for (int i = 0; i < command->count; ++i) {
    if (strcmp(command->fields[i].key, "user") == 0) add_user(properties, command->fields[i].value);
  }
}

void add_connect_properties(const Command* command, MQTTProperties* properties) {
  add_numbers(command, properties, "expiry", MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL);
  add_numbers(command, properties, "alias_max", MQTTPROPERTY_CODE_TOPIC_ALIAS_MAXIMUM);
  add_numbers(command, properties, "receive_max", MQTTPROPERTY_CODE_RECEIVE_MAXIMUM);
}

void say(const char* name, const char* format, ...) {
  pthread_mutex_lock(&output);
  printf("%s\t", name);
  va_list arguments;
  va_start(arguments, format);
  vprintf(format, arguments);
  va_end(arguments);
  putchar('\n');
  fflush(stdout);
  pthread_mutex_unlock(&output);
}

static void print_hex(const char* bytes, int size) {
  for (int i = 0; i < size; ++i) printf("%02x", (unsigned char)bytes[i]);
}

static void print_payload(const char* payload, int size) {
  if (size <= SMALL_PAYLOAD) {
    print_hex(payload, size);
    return;
  }
  char path[] = "/tmp/mm-agent-XXXXXX";  // the test removes it
  FILE* file = fdopen(mkstemp(path), "wb");
  fwrite(payload, 1, (size_t)size, file);
  fclose(file);
  printf("@%s", path);
}

static void print_property(const MQTTProperty* property) {
  const MQTTLenString data = property->value.data;
  switch (property->identifier) {
    case MQTTPROPERTY_CODE_CONTENT_TYPE:
      printf("\tcontent_type=%.*s", data.len, data.data);
      break;
    case MQTTPROPERTY_CODE_RESPONSE_TOPIC:
      printf("\tresponse_topic=%.*s", data.len, data.data);
      break;
    case MQTTPROPERTY_CODE_CORRELATION_DATA:
      printf("\tcorrelation_data=");
      print_hex(data.data, data.len);
      break;
    case MQTTPROPERTY_CODE_USER_PROPERTY:
      printf("\tuser=%.*s:%.*s", data.len, data.data, property->value.value.len, property->value.value.data);
      break;
    case MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL:
      printf("\texpiry=%u", property->value.integer4);
      break;
    case MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIER:
      printf("\tid=%u", property->value.integer4);
      break;
    default:
      break;
  }
}

void say_message(const char* name, const char* topic, const char* payload, int size, int qos, int retain, int dup,
                 MQTTProperties* properties) {
  pthread_mutex_lock(&output);
  printf("%s\tmessage\ttopic=%s\tqos=%d\tretain=%d\tdup=%d\tpayload=", name, topic, qos, retain, dup);
  print_payload(payload, size);
  for (int i = 0; i < properties->count; ++i) print_property(&properties->array[i]);
  putchar('\n');
  fflush(stdout);
  pthread_mutex_unlock(&output);
}

const char* resolve_alias(char** aliases, const char* topic, MQTTProperties* properties) {
  if (!MQTTProperties_hasProperty(properties, MQTTPROPERTY_CODE_TOPIC_ALIAS)) return topic;
  const int alias = MQTTProperties_getNumericValue(properties, MQTTPROPERTY_CODE_TOPIC_ALIAS);
  if (alias < 1 || alias >= MAX_ALIASES) abort();
  if (topic[0] != '\0') {
    free(aliases[alias]);
    aliases[alias] = strdup(topic);
  }
  return aliases[alias];
}
