// Shared subscriptions across workers: every message of a group goes to one member somewhere. DESIGN section 3.
//
//   publisher's worker                       member's worker
//     pick: a member here -> its session
//           a peer ──shared_publish(token)──> pick among its members ──> session
//                  <──shared_result(token)──  accepted, or refused: the next one is tried
//
// The publisher's worker keeps message and ticket until somebody accepted. If the peer dies first, QoS 1 is given to
// another; QoS 2 may be stored with a member there, so the peer's replacement is asked first; what our own replacement
// would ask for again is remembered there in the store, since the member may be done with it. If the only members are
// in a dead worker's store, the message waits for its replacement. If all that could take it refuse for the sake of a
// live member that is not known here (any more, or yet), it waits for news: they speak again when they know better.
// Members' messages that were not sent yet, and QoS 1 in flight, move on when a member goes offline or leaves.
//
// A session that is moving here, or was loaded and may be out of date, may turn out to be another worker's: a message
// for such a member waits with the dispatcher (Waiting), not in the session. It is given when the session is stored
// here for certain, in one batch with whatever that forgets; if the session goes, another is looked for. So nobody is
// told that a member has a message which is not in a store.
//
// In a cluster the gateway is such a peer, for the members of all other hosts. QoS 2 takes more care, since more can
// die on the way (share_sender.h): this worker asks the gateway which host it would choose, notes the answer, and names
// the host with the message, now and whenever it must ask again.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "shared/store/record.h"
#include "worker/broker/core.h"
#include "worker/broker/tickets.h"
#include "worker/router/shared_group.h"

namespace broker {

struct CopiedTo;
struct Peer;

// Kind of the `K` records of messages that members here were given. The others are Journal's.
inline constexpr uint8_t kGivenMark = 4;

// In a shared_result.
enum class SharedResult : uint8_t {
  refused = 0,
  accepted = 1,
  reserved = 2,  // to the gateway: the member gets it with shared_go
};

router::SharedStrategy strategy_of(config::SharedStrategy strategy);

class SharedDispatch {
 public:
  explicit SharedDispatch(Core& core);

  // Assigns the message. False: the group has no member left. Uses the current ticket (Tickets::wait). `client`, the
  // publisher (or null), is held back when the link to the member's worker has no credit; QoS 0 does not go there then.
  bool dispatch(router::SharedGroup& group, const bus::MessageRef& message, connection::MqttClient* client);

  // --- members ---
  void on_member_online(session::Session& session);
  // Gives on what the session has of its groups and of those it left, as far as somebody else is live.
  void on_member_offline(session::Session& session);
  // The session has just left this group.
  void on_member_left(session::Session& session, std::string_view filter, std::string_view name);
  // The session ends, and has left its groups. What it had in flight of a group that it left before goes on, too.
  void on_member_ended(session::Session& session);
  // The session is this worker's for certain: what waited for that is given to it.
  void on_member_certain(session::Session& session);
  // It goes, or went elsewhere, and has left its groups: what waited for it is another's.
  void on_member_gone(const session::Session& session);
  // Sessions that might have been out of date are not.
  void on_confirmed();
  // Members were added, here or elsewhere: what waits for offline members here may have somewhere to go.
  void on_group_changed(router::SharedGroup& group);
  // Deletes the group if nobody is in it any more.
  void release(router::SharedGroup& group);

  // --- peers ---
  bool on_publish(Peer& from, uint8_t flags, std::string_view body, const base::BufferRef& attachment);
  bool on_result(Peer& from, std::string_view body);
  // From the gateway.
  bool on_there(Peer& from, std::string_view body);
  bool on_known(Peer& from, std::string_view body);
  bool on_go(std::string_view body);
  // Whatever its predecessor had taken from other hosts has been answered.
  void on_gateway_recovered(const WorkerId& gateway);
  void on_peer_gone(const WorkerId& peer);
  void on_peer_synced(Peer& peer);
  // From the store: a member here has this QoS 2 message; a message was chosen for the worker of that slot.
  void restore(const bus::Uid& once, const session::GroupName& group) { remember(once, group); }
  void restore(uint32_t slot, uint64_t number, const store::PendingRecord& record);
  // A mark (kGivenMark): a member here was given the message of that name.
  void restore_mark(uint64_t name, uint64_t number);
  void on_ready();
  // This host has gone on at another one, with what was stored of numbers below these (HostLife).
  void give_up(const CopiedTo& copied_to);
  // It has not: what waited for that goes on.
  void on_life_known();

 private:
  using Given = std::tuple<uint64_t, uint64_t, size_t, size_t>;  // identity, group, filter
  // A message on its way to a member.
  struct Placement {
    bus::MessageRef message;
    std::shared_ptr<const session::GroupName> group;
    TicketId ticket = kNoTicket;
    uint8_t attempts = 0;
    bool stored = false;    // here, so that it is placed again after our death
    bool promised = false;  // said to be taken by a member here, which is about to get it
    bool near = false;      // other hosts have nobody for it, so somebody of this host takes it
    bool repeat = false;    // `node` may have it already
    std::string node;       // the host that was chosen for this QoS 2 message; empty: none
    uint64_t record = 0;    // in the outbox of `record_slot`: which worker was chosen; 0: none
    uint32_t record_slot = 0;
  };
  struct Outstanding {
    Placement placement;
    WorkerId peer;
  };
  // Waits for the worker of a dead slot: the one it may be stored with (`slot`), or any, having a member.
  struct Parked {
    Placement placement;
    std::optional<uint32_t> slot;
  };
  // Who else wants to know whether a member here takes a message.
  struct Question {
    WorkerId from;
    uint64_t token = 0;
    bool asked_again = false;  // if `from` dies, its replacement asks as well
  };
  // For a member whose session is not this worker's for certain.
  struct Waiting {
    Placement placement;
    std::optional<Question> question;  // none: ours
    size_t bytes = 0;
  };
  static bool is_certain(const session::Session& session);
  void wait_for(const session::Session& session, Waiting what);
  void wait_here_for(const session::Session& session, Placement p);
  void go_on(Waiting what, std::optional<router::SubscriberId> member);
  // Gives it to a member here, or has it wait for it.
  void place_here(router::SharedGroup& group, router::SubscriberId member, Placement p);
  void answer(const Question& question, router::SharedGroup& group, router::SubscriberId member,
              const bus::MessageRef& message);
  // Finds out, and answers.
  void look_for_member(const Question& question, std::string_view name, std::string_view filter,
                       const bus::MessageRef& message);
  // Tries to place the message; false: nobody is left. Uses the current ticket if the placement has none.
  bool place(router::SharedGroup& group, Placement p, connection::MqttClient* client = nullptr);
  // What all had refused is offered again.
  void offer_again();
  // Tells of the groups for whose offline members messages were refused, and now would not be.
  void speak_again();
  // Places it, or completes its ticket.
  void place_or_drop(Placement p);
  std::optional<router::SharedGroup::Choice> pick(router::SharedGroup& group, const Placement& p,
                                                  const router::PeerSet& refused);
  void pin(Placement p, uint32_t slot);
  void write_record(Placement& p, uint32_t slot);
  void write_pin(const Placement& p);
  void send_pinned(Placement p, uint32_t slot);
  void give_when_forgotten(Placement p, router::SubscriberId member);
  void give_when_answered(Peer& to, Placement p, router::SubscriberId member);
  void reserve(const WorkerId& gateway, Placement p, router::SubscriberId member);
  bool is_gateway(uint32_t slot) const { return slot == core_.gateway_slot(); }
  void send_result(const WorkerId& to, uint64_t token, SharedResult result);
  SharedResult how_given(const WorkerId& asker, const Given& key);
  void give_or_place(const Placement& p, router::SubscriberId member);
  void forget_record(Placement& p);
  void send(Peer& peer, Placement p);
  void ask_where(Peer& gateway, Placement p);
  void refused(Placement p, bool far);
  void give(session::Session& session, const router::SharedGroup& group, const bus::MessageRef& message);
  // Messages that a member gives back; what nobody else can take returns to it if it stays a member.
  void redistribute(const session::Session& from, bool stays, std::vector<session::Delivery> deliveries);
  bus::MessageRef renumbered(const bus::MessageRef& message);
  std::shared_ptr<const session::GroupName> name_of(const router::SharedGroup& group);

  Core& core_;
  router::SharedStrategy strategy_;
  const router::SharedGroup::InflightOf inflight_of_;
  uint64_t next_token_ = 1;
  std::unordered_map<uint64_t, Outstanding> outstanding_;
  std::vector<Parked> parked_;
  std::map<router::SubscriberId, std::deque<Waiting>> waiting_;
  std::map<router::SubscriberId, size_t> waiting_bytes_;
  std::vector<Placement> refused_;                            // by all; waits for news
  std::set<std::pair<std::string, std::string>> refused_to_;  // filter, group: peers, for its offline members here
  // QoS 2 messages that members here were given, the last of them: should one be placed again, it is here.
  static constexpr size_t kRemembered = 16384;
  static Given key_of(const bus::Uid& once, std::string_view name, std::string_view filter);
  static Given key_of(const Placement& p);
  void remember(const bus::Uid& once, const session::GroupName& group);
  // The same of those that their worker's replacement may ask for again when ours does not know of them any more: both
  // have died, and the member is done with it. By a name that fits into a key, in the order they were given.
  static uint64_t mark_of(const bus::Uid& once, std::string_view name, std::string_view filter);
  bool has_mark(const bus::Uid& once, std::string_view name, std::string_view filter) const;
  void write_mark(const bus::Uid& once, std::string_view name, std::string_view filter);
  void drop_old_marks();
  std::map<uint64_t, uint64_t> marks_;       // name -> number
  std::map<uint64_t, uint64_t> mark_order_;  // number -> name
  std::set<Given> given_;
  // QoS 2 messages of other hosts for members whose session is not stored: theirs when the gateway says so.
  struct Reserved {
    Placement placement;
    router::SubscriberId member = 0;
    WorkerId gateway;
  };
  std::map<Given, Reserved> reserved_;
  std::deque<Given> given_order_;
  std::unordered_map<const router::SharedGroup*, std::shared_ptr<const session::GroupName>> names_;
};

}  // namespace broker
