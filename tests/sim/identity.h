// A client id and the application behind it: it connects (sometimes several times at once), subscribes, publishes,
// acknowledges in its own time, and keeps the client's half of the session as MQTT demands.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "proto/codec.h"
#include "tests/sim/connection.h"
#include "tests/sim/event.h"
#include "tests/sim/oracle.h"
#include "tests/sim/settings.h"

namespace sim {

class Clients;

class Identity {
 public:
  struct Profile {
    std::string id;
    proto::ProtocolVersion version = proto::ProtocolVersion::v5;
    bool persistent = true;
    bool shares = false;                        // member of the shared group (then always granted QoS 2)
    proto::QoS qos = proto::QoS::exactly_once;  // of its subscriptions
    uint16_t receive_maximum = 0;
    uint32_t host = 0;  // where it connects, if clients do not roam
  };
  Identity(uint32_t index, const Profile& profile, Clients& clients);

  const uint32_t index;
  const std::string& name() const { return profile_.id; }
  const Profile& profile() const { return profile_; }

  // --- what it does (all but connect(): on its current connection, nothing if it has none) ---
  struct ConnectOptions {
    bool clean_start = false;
    bool persistent = true;
    bool will = false;
  };
  Connection& connect(Process& process, const ConnectOptions& options);
  void subscribe(const std::vector<std::string>& filters);
  void unsubscribe(const std::string& filter);
  void publish(const std::string& topic, proto::QoS qos, bool retain = false, bool erase = false, size_t padding = 0);
  void disconnect();            // with DISCONNECT
  void drop(bool lose_unread);  // without
  void drop(Connection& connection, bool lose_unread);
  void set_paused(bool paused) { paused_ = paused; }
  bool paused() const { return paused_; }
  // One random deed.
  void act();

  // --- what it hears ---
  void download(Connection& connection);
  void acknowledge(Connection& connection);
  bool owes_acks(const Connection& connection) const;
  // The message that the client's PUBACK or PUBREC with that id answered.
  MessageId acknowledged(const Connection& connection, uint16_t packet_id) const;

  // The connection it works with: the last one that was accepted, as far as it knows.
  Connection* current() const { return current_; }
  const std::deque<Connection*>& connections() const { return open_; }  // not yet over for the client
  bool publishing() const { return !out_.empty(); }
  const std::map<std::string, std::string>& retained_seen() const { return retained_seen_; }

 private:
  struct Outgoing {
    uint16_t packet_id = 0;
    MessageId message = 0;
    bool released = false;  // PUBREC was received
  };
  struct OwedAck {
    uint32_t connection = 0;
    std::string bytes;
    uint16_t packet_id = 0;
    bool finishes = false;  // the packet id is free then
  };

  void handle(Connection& connection, const proto::Frame& frame);
  void on_connack(Connection& connection, const proto::Connack& connack);
  void on_publish(Connection& connection, const proto::Publish& publish);
  void on_ack(Connection& connection, proto::PacketType type, const proto::Ack& ack);
  void send_publish(Connection& connection, const Outgoing& outgoing, bool dup);
  void send_release(Connection& connection, uint16_t packet_id);
  void owe(Connection& connection, proto::PacketType type, uint16_t packet_id, bool finishes);
  void forget(Connection& connection);
  uint16_t next_packet_id();
  void act_without_connection();
  void publish_something();
  void subscribe_something();

  Profile profile_;
  Clients& clients_;
  std::deque<Connection*> open_;
  Connection* current_ = nullptr;
  const Session* session_ = nullptr;  // of `current_`, or the last one
  bool paused_ = false;
  uint16_t last_packet_id_ = 0;
  std::vector<Outgoing> out_;
  std::map<uint16_t, MessageId> incoming_;  // QoS 2: received, not released
  std::deque<OwedAck> owed_acks_;
  std::map<std::pair<uint32_t, uint16_t>, MessageId> answered_;
  std::map<std::string, std::string> retained_seen_;
};

}  // namespace sim
