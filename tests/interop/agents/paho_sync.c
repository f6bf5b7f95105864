// Paho C's synchronous API behind the agent protocol: paho_sync <protocol version>
#include <MQTTClient.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"

#define MAX_CLIENTS 1024
#define TIMEOUT_MS 10000

typedef struct {
  char name[32];
  MQTTClient handle;
  atomic_int left;  // messages still to be acknowledged before the command is done
  char* aliases[MAX_ALIASES];
} Client;

static Client clients[MAX_CLIENTS];
static int client_count;
static int version;

static Client* client_of(const char* name) {
  for (int i = 0; i < client_count; ++i) {
    if (strcmp(clients[i].name, name) == 0) return &clients[i];
  }
  if (client_count == MAX_CLIENTS) abort();
  Client* client = &clients[client_count++];
  snprintf(client->name, sizeof client->name, "%s", name);
  return client;
}

static int on_message(void* context, char* topic, int topic_size, MQTTClient_message* message) {
  Client* client = context;
  (void)topic_size;
  say_message(client->name, resolve_alias(client->aliases, topic, &message->properties), message->payload,
              message->payloadlen, message->qos, message->retained, message->dup, &message->properties);
  MQTTClient_freeMessage(&message);
  MQTTClient_free(topic);
  return 1;
}

static void on_lost(void* context, char* cause) {
  (void)cause;
  say(((Client*)context)->name, "closed\tcode=0");
}

static void on_disconnect(void* context, MQTTProperties* properties, enum MQTTReasonCodes reason) {
  (void)properties;
  say(((Client*)context)->name, "closed\tcode=%d", (int)reason);
}

// The library's own wait looks ten times a second.
static void on_delivered(void* context, MQTTClient_deliveryToken token) {
  Client* client = context;
  (void)token;
  if (atomic_fetch_sub(&client->left, 1) == 1) say(client->name, "ok");
}

static void answer(const Client* client, int code) {
  if (code == MQTTCLIENT_SUCCESS) {
    say(client->name, "ok");
  } else {
    say(client->name, "error\ttext=%d %s", code, MQTTClient_strerror(code));
  }
}

static void connect_client(Client* client, const Command* command) {
  char url[64];
  snprintf(url, sizeof url, "tcp://127.0.0.1:%s", text_field(command, "port", ""));
  MQTTClient_createOptions create = MQTTClient_createOptions_initializer;
  create.MQTTVersion = version;
  int code = MQTTClient_createWithOptions(&client->handle, url, text_field(command, "id", ""),
                                          MQTTCLIENT_PERSISTENCE_NONE, NULL, &create);
  if (code == MQTTCLIENT_SUCCESS) code = MQTTClient_setCallbacks(client->handle, client, on_lost, on_message, on_delivered);
  if (code == MQTTCLIENT_SUCCESS && version == MQTTVERSION_5) {
    code = MQTTClient_setDisconnected(client->handle, client, on_disconnect);
  }
  MQTTClient_willOptions will = MQTTClient_willOptions_initializer;
  MQTTClient_connectOptions v3 = MQTTClient_connectOptions_initializer;
  MQTTClient_connectOptions v5 = MQTTClient_connectOptions_initializer5;
  MQTTClient_connectOptions options = version == MQTTVERSION_5 ? v5 : v3;
  options.MQTTVersion = version;
  options.maxInflightMessages = 100;
  options.connectTimeout = TIMEOUT_MS / 1000;
  const int clean = number_field(command, "clean", 1);
  if (version == MQTTVERSION_5) {
    options.cleanstart = clean;
  } else {
    options.cleansession = clean;
  }
  char* payload = NULL;
  if (text_field(command, "will_topic", NULL) != NULL) {
    int size = 0;
    payload = payload_field(command, "will_payload", &size);
    will.topicName = text_field(command, "will_topic", NULL);
    will.payload.data = payload;
    will.payload.len = size;
    will.qos = 1;
    options.will = &will;
  }
  if (code == MQTTCLIENT_SUCCESS && version == MQTTVERSION_5) {
    MQTTProperties properties = MQTTProperties_initializer;
    MQTTProperties will_properties = MQTTProperties_initializer;
    add_connect_properties(command, &properties);
    const MQTTResponse response = MQTTClient_connect5(client->handle, &options, &properties, &will_properties);
    code = (int)response.reasonCode;
    MQTTResponse_free(response);
    MQTTProperties_free(&properties);
  } else if (code == MQTTCLIENT_SUCCESS) {
    code = MQTTClient_connect(client->handle, &options);
  }
  free(payload);
  if (code == MQTTCLIENT_SUCCESS) {
    const char* present = options.returned.sessionPresent ? "1" : "0";
    say(client->name, "ok\tsession_present=%s", version == MQTTVERSION_5 ? "?" : present);  // not returned for MQTT 5
  } else {
    answer(client, code);
  }
}

static void subscribe_client(Client* client, const Command* command) {
  const char* filter = text_field(command, "filter", "");
  const int qos = number_field(command, "qos", 0);
  if (version != MQTTVERSION_5) {
    answer(client, MQTTClient_subscribe(client->handle, filter, qos));
    return;
  }
  MQTTProperties properties = MQTTProperties_initializer;
  if (text_field(command, "identifier", NULL) != NULL) {
    MQTTProperty property = {.identifier = MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIER};
    property.value.integer4 = (unsigned)number_field(command, "identifier", 0);
    MQTTProperties_add(&properties, &property);
  }
  const MQTTResponse response = MQTTClient_subscribe5(client->handle, filter, qos, NULL, &properties);
  answer(client, response.reasonCode <= MQTTREASONCODE_GRANTED_QOS_2 ? 0 : (int)response.reasonCode);
  MQTTResponse_free(response);
  MQTTProperties_free(&properties);
}

static void unsubscribe_client(Client* client, const Command* command) {
  const char* filter = text_field(command, "filter", "");
  if (version != MQTTVERSION_5) {
    answer(client, MQTTClient_unsubscribe(client->handle, filter));
    return;
  }
  const MQTTResponse response = MQTTClient_unsubscribe5(client->handle, filter, NULL);
  answer(client, (int)response.reasonCode);
  MQTTResponse_free(response);
}

static void publish_one(Client* client, const Command* command, const char* payload, int size) {
  const char* topic = text_field(command, "topic", "");
  const int qos = number_field(command, "qos", 0);
  const int retain = number_field(command, "retain", 0);
  int code = MQTTCLIENT_SUCCESS;
  if (version == MQTTVERSION_5) {
    MQTTProperties properties = MQTTProperties_initializer;
    add_publish_properties(command, &properties);
    const MQTTResponse response =
        MQTTClient_publish5(client->handle, topic, size, payload, qos, retain, &properties, NULL);
    code = (int)response.reasonCode;
    MQTTResponse_free(response);
    MQTTProperties_free(&properties);
  } else {
    code = MQTTClient_publish(client->handle, topic, size, payload, qos, retain, NULL);
  }
  if (code != MQTTCLIENT_SUCCESS) answer(client, code);
  if (code == MQTTCLIENT_SUCCESS && qos == 0) on_delivered(client, 0);
}

static void publish_client(Client* client, const Command* command) {
  int size = 0;
  char* payload = payload_field(command, "payload", &size);
  client->left = 1;
  publish_one(client, command, payload, size);
  free(payload);
}

static void burst_client(Client* client, const Command* command) {
  const int count = number_field(command, "count", 0);
  client->left = count;
  for (int i = 0; i < count; ++i) {
    char payload[16];
    publish_one(client, command, payload, snprintf(payload, sizeof payload, "%d", i));
  }
}

static void disconnect_client(Client* client) {
  const int code = version == MQTTVERSION_5
                       ? MQTTClient_disconnect5(client->handle, TIMEOUT_MS, MQTTREASONCODE_SUCCESS, NULL)
                       : MQTTClient_disconnect(client->handle, TIMEOUT_MS);
  MQTTClient_destroy(&client->handle);
  answer(client, code);
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  version = atoi(argv[1]);
  Command command;
  while (read_command(&command)) {
    Client* client = client_of(command.name);
    if (strcmp(command.word, "connect") == 0) connect_client(client, &command);
    if (strcmp(command.word, "subscribe") == 0) subscribe_client(client, &command);
    if (strcmp(command.word, "unsubscribe") == 0) unsubscribe_client(client, &command);
    if (strcmp(command.word, "publish") == 0) publish_client(client, &command);
    if (strcmp(command.word, "burst") == 0) burst_client(client, &command);
    if (strcmp(command.word, "disconnect") == 0) disconnect_client(client);
  }
  return 0;
}
