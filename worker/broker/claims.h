// CONNECT across workers: at most one live connection per client id (contract C7). DESIGN section 5.
//
//   this worker (B)              home of the client id (H)          holder (A)
//     claim ────────────────────────> directory
//     <──────────────────── grant(epoch, holder A)
//     pull(discard?) ─────────────────────────────────────────────────> closes the old connection (0x8E),
//     <──────────────────────── state (or: none), as takeovers.h has it
//     installs, held ───────────────> directory ──stale──────────────> forgets the session
//                                     <─────────── release(0) ──────── when that is stored
//     CONNACK
//
// H, A and B may be one worker. Claims that come during a transfer wait at H, the newest goes next. A claim whose
// client has gone does not pull; one that has pulled keeps the session, offline, for the next to fetch (and withdraws a
// pull from another host, if nothing has come of it). A dead home:
// claims wait and are sent again to its replacement, which has been told what everybody holds. A dead holder: the claim
// waits for its replacement, which has the session from its store.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "worker/broker/client_table.h"
#include "worker/broker/core.h"
#include "worker/connection/host.h"

namespace broker {

struct Peer;

class Claims final : private session::Directory::Replies {
 public:
  explicit Claims(Core& core);

  void claim(connection::MqttClient& client, const connection::ConnectRequest& request);
  // The client closed before its claim was answered.
  void abandon(const connection::MqttClient& client);
  // A session has come from the store.
  void restore(const session::Session& session);
  // So has a record of "M"; it may be another part's.
  bool restore(std::string_view name, std::string_view value);
  // A session of ours has ended: the directory forgets it.
  void release(const session::Session& session);

  // --- peers ---
  void sync_to(Peer& peer);
  // After sync_end: claims whose home this new incarnation is.
  void resend_to(Peer& peer);
  void on_ready();
  // Peers::all_recovered() may have become true.
  void on_recovered();
  void on_peer_linked(Peer& peer);
  void on_peer_synced(const WorkerId& peer) { directory_.on_worker_synced(peer); }
  void on_peer_gone(const WorkerId& gone);
  // A session here may be out of date: the number for Session::unconfirmed, until everybody who may know has told.
  uint64_t doubt();
  // Peers::all_recovered() may have become true, or there is a new doubt.
  void settle_doubts();
  bool on_claim(const WorkerId& from, std::string_view body);
  bool on_grant(std::string_view body);
  bool on_superseded(std::string_view body);
  bool on_claim_refused(const WorkerId& from, std::string_view body);
  bool on_held(const WorkerId& from, std::string_view body);
  bool on_release(const WorkerId& from, std::string_view body);
  bool on_holding(const WorkerId& from, std::string_view body);
  bool on_pull(Peer& from, std::string_view body);
  bool on_state_begin(Peer& from, std::string_view body);
  bool on_state_delivery(Peer& from, std::string_view body, const base::BufferRef& attachment);
  bool on_state_end(Peer& from, std::string_view body);
  bool on_stale(std::string_view body);
  bool on_hang_up(Peer& from, std::string_view body);
  bool on_hung_up(const WorkerId& from, std::string_view body);
  bool on_restart(Peer& from, std::string_view body);
  bool on_reclaim(Peer& from, std::string_view body);

  // --- in a cluster: the gateway ---
  bool on_cluster_granted(const WorkerId& from, std::string_view body);
  bool on_cluster_registered(std::string_view body);
  // It can reach the other hosts now.
  void on_cluster_joined();
  // It cannot.
  void on_cluster_lost();
  // HostLife::settled() may have become true.
  void on_life_settled();

  // HostLife::unsure_until() is another one.
  void set_unsure_until(uint64_t epoch) { directory_.set_unsure_until(epoch); }

  size_t pending() const { return claims_.size(); }
  size_t directory_size() const { return directory_.size(); }
  // Clients that were accepted without the cluster, which is to hear of them.
  size_t unheard() const { return directory_.unheard(); }

 private:
  struct Claim {
    ClientRef client;
    bool has_client = true;
    std::string id;
    bool clean_start = false;
    bool granted = false;
    uint64_t epoch = 0;
    WorkerId holder;  // where the session is pulled from
    bool pulling = false;
    std::optional<uint64_t> changes;       // Journal::changes() before a session here was discarded for it
    bool storing = false;                  // `incoming` is complete, and being stored
    session::Session* incoming = nullptr;  // being received
  };
  using Map = std::map<uint64_t, Claim>;
  struct EarlyClaim {  // came before this worker was ready
    WorkerId from;
    std::string id;
    uint64_t number = 0;
    bool clean = false;
    uint64_t foreign = 0;
  };

  // session::Directory::Replies, when this worker is the home.
  void grant(const WorkerId& to, uint64_t claim, uint64_t epoch, const std::optional<WorkerId>& holder) override;
  void superseded(const WorkerId& to, uint64_t claim) override;
  void stale(const WorkerId& to, std::string_view id, uint64_t epoch) override;
  bool hang_up(const WorkerId& to, std::string_view id, uint64_t epoch) override;
  void refused(const WorkerId& to, uint64_t claim) override;
  std::optional<WorkerId> ask(std::string_view id, uint64_t at_least, uint64_t held) override;
  void settled(std::string_view id, uint64_t epoch, session::Directory::Outcome outcome) override;
  bool note_unheard(std::string_view id, uint64_t epoch) override;

  std::optional<WorkerId> gateway() const;
  void send_claim(uint64_t number, const Claim& claim);
  void handle_grant(uint64_t number, uint64_t epoch, const std::optional<WorkerId>& holder);
  void handle_superseded(uint64_t number);
  void handle_refused(uint64_t number);
  void handle_stale(std::string_view id, uint64_t epoch);
  void handle_hang_up(std::string_view id, uint64_t epoch);
  // Another worker's is newer.
  void give_way(session::Session& session);
  // Asks the holder; nothing if it is not there: its replacement is asked.
  void pull(uint64_t number, Claim& claim);
  // What is asked of another host is not wanted any more.
  void withdraw(uint64_t number, const Claim& claim);
  // The claim of a state frame from this peer; null: it is not awaited (any more).
  Claim* awaited(uint64_t number, const Peer& from);
  // Everything is known: makes the session the client's, or keeps it offline. `moved`: it has come from another worker.
  void finish(Map::iterator it, session::Session* session, bool moved = false);
  // It is stored: CONNACK.
  void go_live(uint64_t number, bool present, bool durable);
  void send_release(std::string_view id, uint64_t epoch);
  void report(const std::string& id, uint64_t number, session::Directory::Outcome outcome);
  connection::MqttClient* client_of(const Claim& claim) const;
  std::string make_client_id();

  Core& core_;
  session::Directory directory_;
  uint64_t next_number_ = 1;
  uint64_t doubts_ = 0;
  uint64_t settled_ = 0;    // the last of them that was, or is being, settled
  bool joined_ = false;     // all that is held is to be told the cluster
  bool reachable_ = false;  // the gateway has said that it can ask the cluster
  Map claims_;
  std::vector<EarlyClaim> early_;
  struct EarlyLeft {  // what the cluster said before this worker was ready
    std::string id;
    uint64_t epoch = 0;
    std::optional<bool> ours;  // as on_cluster_registered() has it; else a claim that may be left over
  };
  std::vector<EarlyLeft> early_left_;
  // The last sessions that had come from other workers and have ended here, for the replacement of a home that has
  // died: it may be told of what is left of them.
  static constexpr size_t kEndedKept = 4096;
  struct Ended {
    std::string id;
    uint64_t epoch = 0;
  };
  std::deque<Ended> ended_;
  struct EarlyPull {
    WorkerId from;
    std::string body;
  };
  std::vector<EarlyPull> early_pulls_;
};

}  // namespace broker
