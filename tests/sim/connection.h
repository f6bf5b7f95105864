// One network connection of a client to a worker: the sockets in between, and what an onlooker sees pass by.
//
//   client --write--> up --upload()--> connection::Client          (observed: "handed over")
//   client <-download()- down <--pump()-- output()                  (observed: "sent")
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/codec.h"
#include "proto/framer.h"
#include "shared/base/random.h"
#include "tests/sim/ledger.h"
#include "tests/sim/pipe.h"
#include "tests/sim/process.h"
#include "worker/connection/client.h"
#include "worker/connection/transport.h"

namespace sim {

class Identity;
class Oracle;
struct Settings;

class Connection final : public connection::ClientTransport {
 public:
  struct Terms {  // of its CONNECT
    proto::ProtocolVersion version = proto::ProtocolVersion::v5;
    bool clean_start = true;
    bool persistent = false;  // session expiry > 0, or clean session 0
    MessageId will = 0;
    uint16_t receive_maximum = 0;  // 0: not said
  };
  struct Context {
    Oracle& oracle;
    Trace& trace;
    base::Random& random;
    const Settings& settings;
    base::ChunkPool& pool;
  };
  Connection(uint32_t index, Identity& owner, Process& process, const Terms& terms, const Context& context);

  const uint32_t index;
  Identity& owner;
  Process& process;
  const Terms terms;

  // --- what happened so far ---
  Step connect_handed = kNever;
  base::MonoMs accepted_ms = 0;
  Step connack_sent = kNever;      // success
  uint64_t connack_number = 0;     // in the order of all that were sent
  Step quiet_before = 0;           // when everything was at rest last before that
  Step closed_by_broker = kNever;  // transport.close()
  Step told_closed = kNever;       // on_transport_closed(), or its worker died
  bool session_present = false;
  bool disconnect_handed = false;  // without asking for the will
  bool refused = false;            // CONNACK with an error, or one that was not meant
  bool turned_away = false;        // with an error
  bool connack_seen = false;       // by the client
  bool client_closed = false;
  bool lost_early = false;                   // the client closed, and what it had written last is lost
  std::optional<proto::ReasonCode> goodbye;  // of the last packet sent, if it was a DISCONNECT
  Session* session = nullptr;                // from the CONNACK on
  std::map<uint16_t, MessageId> erasing;     // sent without a payload, by packet id
  std::map<uint16_t, MessageId> published;   // handed over, by packet id
  std::map<uint16_t, Asked> subscribing;     // handed over and unanswered, by packet id
  std::map<uint16_t, Asked> unsubscribing;
  std::map<uint16_t, MessageId> arrived;  // QoS > 0 received by the client and not finished

  std::string name() const;
  // Has CONNACK and nobody ended it.
  bool live() const { return connack_sent != kNever && !over(); }
  bool over() const { return closed_by_broker != kNever || told_closed != kNever; }
  Step over_at() const { return closed_by_broker < told_closed ? closed_by_broker : told_closed; }

  // --- the client's side ---
  void write(std::string_view packet) { up_.put(packet); }
  bool can_write() const { return !client_closed && up_.size() < 64 * 1024; }
  // Bytes for the client, at most `max`. Empty and at_end(): the other side closed.
  std::string read(size_t max) { return down_.take(max); }
  bool readable() const { return !client_closed && !down_.empty(); }
  bool at_end() const { return !client_closed && down_.empty() && (closed_by_broker != kNever || !process.alive); }
  void close_by_client(bool lose_unread);
  proto::Framer& inbound() { return inbound_; }

  // --- the worker's side ---
  bool accepted() const { return accepted_; }
  bool can_accept() const { return !accepted_ && told_closed == kNever && process.runs() && process.ready; }
  void accept();
  bool can_upload() const { return client_ != nullptr && process.runs() && reading_ && !up_.empty() && !held; }
  void upload();
  bool can_hang_up() const {
    return client_ != nullptr && process.runs() && client_closed && (lost_early || up_.empty()) && !held;
  }
  void hang_up();
  bool can_pump() const { return client_ != nullptr && process.runs() && !output_.empty() && down_.room() > 0; }
  void pump();
  void end_of_turn();
  void on_worker_death();
  bool idle() const { return up_.empty() && down_.empty() && output_.empty(); }

  // --- connection::ClientTransport ---
  base::ByteChain& output() override { return output_; }
  void schedule_flush() override { flush_wanted_ = true; }
  void set_reading(bool on) override { reading_ = on; }
  void close() override;
  std::string peer_address() const override { return name(); }

  bool held = false;  // a scenario keeps the worker from reading

 private:
  struct Handed {
    proto::PacketType type;
    uint16_t packet_id = 0;
    MessageId message = 0;
  };
  void move(size_t limit);
  void observe_up(std::string_view bytes);
  void on_handed(const proto::Frame& frame);
  void observe_down(std::string_view bytes);
  void on_sent(const proto::Frame& frame);
  void tell_cut_connack();
  void settle();

  Context context_;
  Pipe up_;
  Pipe down_;
  base::ByteChain output_;
  connection::Client* client_ = nullptr;
  bool accepted_ = false;
  bool reading_ = true;
  bool flush_wanted_ = false;
  bool uploading_ = false;
  bool closing_ = false;
  bool cut_connack_ = false;  // written with the end, and maybe not meant: see on_sent()
  proto::Framer up_observer_;
  proto::Framer down_observer_;
  proto::Framer inbound_;          // the client's own
  std::vector<Handed> unsettled_;  // handed over, maybe not looked at yet
};

}  // namespace sim
