// Paho C's asynchronous API behind the agent protocol: paho_async <protocol version>
#include <MQTTAsync.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"

#define MAX_CLIENTS 1024

typedef struct {
  char name[32];
  MQTTAsync handle;
  atomic_int left;  // answers still to come before the command is done
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

static int on_message(void* context, char* topic, int topic_size, MQTTAsync_message* message) {
  Client* client = context;
  (void)topic_size;
  say_message(client->name, resolve_alias(client->aliases, topic, &message->properties), message->payload,
              message->payloadlen, message->qos, message->retained, message->dup, &message->properties);
  MQTTAsync_freeMessage(&message);
  MQTTAsync_free(topic);
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

// --- answers ---

static void on_connected(void* context, MQTTAsync_successData* data) {
  say(((Client*)context)->name, "ok\tsession_present=%d", data->alt.connect.sessionPresent);
}
static void on_connected5(void* context, MQTTAsync_successData5* data) {
  say(((Client*)context)->name, "ok\tsession_present=%d", data->alt.connect.sessionPresent);
}

static void one_done(Client* client) {
  if (atomic_fetch_sub(&client->left, 1) == 1) say(client->name, "ok");
}
static void on_success(void* context, MQTTAsync_successData* data) {
  (void)data;
  one_done(context);
}
static void on_success5(void* context, MQTTAsync_successData5* data) {
  (void)data;
  one_done(context);
}

static void on_failure(void* context, MQTTAsync_failureData* data) {
  say(((Client*)context)->name, "error\ttext=%d %s", data->code, data->message != NULL ? data->message : "");
}
static void on_failure5(void* context, MQTTAsync_failureData5* data) {
  say(((Client*)context)->name, "error\ttext=%d reason %d", data->code, (int)data->reasonCode);
}

static MQTTAsync_responseOptions answers_to(Client* client) {
  MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
  options.context = client;
  if (version == MQTTVERSION_5) {
    options.onSuccess5 = on_success5;
    options.onFailure5 = on_failure5;
  } else {
    options.onSuccess = on_success;
    options.onFailure = on_failure;
  }
  return options;
}

static void check(const Client* client, int code) {
  if (code != MQTTASYNC_SUCCESS) say(client->name, "error\ttext=%d %s", code, MQTTAsync_strerror(code));
}

// --- commands ---

static int create(Client* client, const Command* command) {
  char url[64];
  snprintf(url, sizeof url, "tcp://127.0.0.1:%s", text_field(command, "port", ""));
  MQTTAsync_createOptions v3 = MQTTAsync_createOptions_initializer;
  MQTTAsync_createOptions v5 = MQTTAsync_createOptions_initializer5;
  MQTTAsync_createOptions options = version == MQTTVERSION_5 ? v5 : v3;
  options.maxBufferedMessages = 10000;
  int code = MQTTAsync_createWithOptions(&client->handle, url, text_field(command, "id", ""),
                                         MQTTCLIENT_PERSISTENCE_NONE, NULL, &options);
  if (code == MQTTASYNC_SUCCESS) code = MQTTAsync_setCallbacks(client->handle, client, on_lost, on_message, NULL);
  if (code == MQTTASYNC_SUCCESS && version == MQTTVERSION_5) {
    code = MQTTAsync_setDisconnected(client->handle, client, on_disconnect);
  }
  return code;
}

static void connect_client(Client* client, const Command* command) {
  int code = create(client, command);
  MQTTAsync_willOptions will = MQTTAsync_willOptions_initializer;
  MQTTAsync_connectOptions v3 = MQTTAsync_connectOptions_initializer;
  MQTTAsync_connectOptions v5 = MQTTAsync_connectOptions_initializer5;
  MQTTAsync_connectOptions options = version == MQTTVERSION_5 ? v5 : v3;
  MQTTProperties properties = MQTTProperties_initializer;
  options.MQTTVersion = version;
  options.context = client;
  const int clean = number_field(command, "clean", 1);
  if (version == MQTTVERSION_5) {
    options.cleanstart = clean;
    options.onSuccess5 = on_connected5;
    options.onFailure5 = on_failure5;
    add_connect_properties(command, &properties);
    options.connectProperties = &properties;
  } else {
    options.cleansession = clean;
    options.onSuccess = on_connected;
    options.onFailure = on_failure;
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
  if (code == MQTTASYNC_SUCCESS) code = MQTTAsync_connect(client->handle, &options);
  free(payload);
  MQTTProperties_free(&properties);
  check(client, code);
}

static void subscribe_client(Client* client, const Command* command) {
  MQTTAsync_responseOptions options = answers_to(client);
  if (text_field(command, "identifier", NULL) != NULL) {
    MQTTProperty property = {.identifier = MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIER};
    property.value.integer4 = (unsigned)number_field(command, "identifier", 0);
    MQTTProperties_add(&options.properties, &property);
  }
  client->left = 1;
  check(client, MQTTAsync_subscribe(client->handle, text_field(command, "filter", ""),
                                    number_field(command, "qos", 0), &options));
  MQTTProperties_free(&options.properties);
}

static void unsubscribe_client(Client* client, const Command* command) {
  MQTTAsync_responseOptions options = answers_to(client);
  client->left = 1;
  check(client, MQTTAsync_unsubscribe(client->handle, text_field(command, "filter", ""), &options));
}

static int start_publish(Client* client, const Command* command, const char* payload, int size) {
  MQTTAsync_responseOptions options = answers_to(client);
  MQTTAsync_message message = MQTTAsync_message_initializer;
  message.payload = (void*)payload;
  message.payloadlen = size;
  message.qos = number_field(command, "qos", 0);
  message.retained = number_field(command, "retain", 0);
  if (version == MQTTVERSION_5) add_publish_properties(command, &message.properties);
  const int code = MQTTAsync_sendMessage(client->handle, text_field(command, "topic", ""), &message, &options);
  MQTTProperties_free(&message.properties);
  return code;
}

static void publish_client(Client* client, const Command* command) {
  int size = 0;
  char* payload = payload_field(command, "payload", &size);
  client->left = 1;
  check(client, start_publish(client, command, payload, size));
  free(payload);
}

static void burst_client(Client* client, const Command* command) {
  const int count = number_field(command, "count", 0);
  client->left = count;
  int code = MQTTASYNC_SUCCESS;
  for (int i = 0; i < count && code == MQTTASYNC_SUCCESS; ++i) {
    char payload[16];
    code = start_publish(client, command, payload, snprintf(payload, sizeof payload, "%d", i));
  }
  check(client, code);
}

static void disconnect_client(Client* client) {
  MQTTAsync_disconnectOptions v3 = MQTTAsync_disconnectOptions_initializer;
  MQTTAsync_disconnectOptions v5 = MQTTAsync_disconnectOptions_initializer5;
  MQTTAsync_disconnectOptions options = version == MQTTVERSION_5 ? v5 : v3;
  options.context = client;
  if (version == MQTTVERSION_5) {
    options.onSuccess5 = on_success5;
    options.onFailure5 = on_failure5;
  } else {
    options.onSuccess = on_success;
    options.onFailure = on_failure;
  }
  client->left = 1;
  check(client, MQTTAsync_disconnect(client->handle, &options));
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
