#include "worker/broker/gateway.h"

#include <algorithm>
#include <utility>

#include "shared/base/check.h"
#include "shared/bus/frames.h"
#include "shared/bus/message_codec.h"
#include "worker/broker/interest.h"
#include "worker/broker/journal.h"
#include "worker/broker/peers.h"
#include "worker/broker/publisher.h"

namespace broker {
namespace {

constexpr base::MonoMs kTickMs = 50;
// Of the lease: how often it is renewed, and how much earlier than Redis we take it for run out.
constexpr uint64_t kRenewals = 5;
constexpr uint64_t kMarginPart = 10;
// For as long a node that has been adopted may take to begin.
constexpr uint64_t kGuestMs = 60'000;

// Within which everybody has had the time to join, or to renew and tell what it has.
constexpr uint64_t calm_after(uint64_t lease_ms) {
  return lease_ms + lease_ms / 2;
}

std::string_view name_of(std::string_view key) {
  return key.substr(0, key.rfind('.'));
}

}  // namespace

using cluster::Status;

Gateway::Gateway(Core& core)
    : core_(core),
      hub_(*core.env.hub),
      lease_ms_(static_cast<uint64_t>(core.config.redis.lease * 1000)),
      name_(core.config.redis.node_id),
      routes_(core),
      directory_(
          core,
          [this](const std::string& id, uint64_t epoch, const std::string& previous) {
            imports_.on_settled(id, true);
            if (previous.empty() || previous == key_) return;
            std::string body;
            bus::Writer(body).put<uint64_t>(epoch).text(id);
            node(previous).stream.append(NodeFrame::stale, body);
          },
          [this](const std::string& id) { imports_.on_settled(id, false); }),
      imports_(core),
      exports_(core),
      shares_(core, [this](NodeFrame type, std::string_view body) { announce(type, body); }),
      copies_(core, *core.env.hub),
      strays_(core),
      share_sender_(core, *this, shares_),
      share_receiver_(core, *this, shares_),
      inbox_(*core.env.hub,
             [this](const cluster::Entry& entry, NodeInbox& inbox) {
               core_.page.add(metrics::Counter::cluster_batches_received);
               core_.page.add(metrics::Counter::cluster_bytes_received, entry.frames.size());
               if (!on_frames(node(entry.from), entry.gateway, entry.frames, &inbox)) {
                 log(3, "malformed entry in the inbox", {{"from", entry.from}});
               }
             }),
      retained_(core, *core.env.hub),
      timer_(*this) {}

Gateway::~Gateway() = default;

void Gateway::start() {
  started_ = core_.now();
  core_.wheel.arm(timer_, core_.now() + kTickMs);
  hub_.start(*this);
}

void Gateway::log(int level, std::string_view event, std::initializer_list<LogField> fields) const {
  if (core_.env.log && level >= core_.env.log_level) core_.env.log(level, event, fields);
}

int64_t Gateway::expiry_shift() const {
  return static_cast<int64_t>(core_.env.clock->wall_us() / 1000) - static_cast<int64_t>(core_.now());
}

// --- membership ---

void Gateway::on_up(const cluster::Info& info) {
  ++session_;
  down_ = false;
  log(1, "redis is there", {{"server", info.server}});
  core_.page.set(metrics::Gauge::redis_warnings, info.warnings.size());
  for (const std::string& warning : info.warnings) log(2, "redis may lose what it holds", {{"why", warning}});
  if (!buried_) join();
}

void Gateway::on_down(const std::string& reason) {
  ++session_;
  if (joined_ || !down_) log(3, "redis is not there: other hosts are out of reach", {{"reason", reason}});
  joined_ = joining_ = false;
  down_ = true;
  inbox_.pause();
  directory_.on_lost();
  core_.peers->for_each(
      [this](Peer& peer) { core_.peers->send(peer, bus::FrameType::cluster_lost, bus::kAckSoon, {}); });
  retained_.on_down();
  copies_.on_down();
  note_reached();
  run_marks();
  open_if_known();
}

void Gateway::join() {
  joining_ = true;
  hub_.join(name_, core_.self.incarnation, lease_ms_,
            [this, sent = core_.now(), session = session_](Status status, const cluster::Membership& membership) {
              on_membership(status, membership, sent, session);
            });
}

void Gateway::renew() {
  joining_ = true;
  renew_soon_ = false;
  renew_at_ = core_.now() + lease_ms_ / kRenewals;
  hub_.renew(lease_ms_,
             [this, sent = core_.now(), session = session_](Status status, const cluster::Membership& membership) {
               on_membership(status, membership, sent, session);
             });
}

void Gateway::on_membership(Status status, const cluster::Membership& membership, base::MonoMs sent, uint64_t session) {
  if (session != session_) return;
  joining_ = false;
  if (status == Status::fenced) return fenced("the lease");
  if (status != Status::ok) {  // on_down() follows, or it is tried again at the next tick
    renew_at_ = core_.now() + kTickMs;
    return;
  }
  renew_at_ = std::max(renew_at_, core_.now() + lease_ms_ / kRenewals);
  lease_until_ = sent + lease_ms_ - lease_ms_ / kMarginPart;
  if (core_.env.on_lease && lease_until_ > core_.now()) core_.env.on_lease(lease_until_ - core_.now());
  const bool redis_lost = cluster_ != 0 && cluster_ != membership.cluster_id;
  cluster_ = membership.cluster_id;
  if (redis_lost) on_redis_lost();
  if (!joined_) {
    // Another life means other keys: what this process has told the others was told in the name of the former one.
    if (!key_.empty() && key_ != membership.key) return fenced("the life");
    key_ = membership.key;
    joined_ = true;
    apart_at_ = core_.now();
    log(1, "joined the cluster", {{"node", key_}});
    directory_.on_joined(key_);
    for_each([](RemoteNode& remote) {  // what was said may have been lost with Redis
      remote.told = 0;
      remote.stream.on_joined();
    });
    if (redis_lost) exports_.on_redis_lost();
    imports_.on_joined();
    tell_joined();
    copies_.on_joined();
    strays_.on_joined();
    inbox_end_ = membership.inbox_end;
    if (workers_synced_) inbox_.open(key_, inbox_end_);
  }
  retained_.on_joined(membership.cluster_id);
  calm_ = membership.calm_ms >= calm_after(lease_ms_);
  // Who is not there has been buried; or Redis has lost it, and it joins again: for that it has some time, or else it
  // does as another.
  std::vector<std::string> gone;
  for (const auto& [key, remote] : nodes_) {
    bool there = false;
    bool again = false;
    for (const cluster::Node& n : membership.nodes) {
      there = there || n.key == key;
      again = again || name_of(n.key) == name_of(key);
    }
    // Of one that is new here the answer may be older than what we heard from it.
    remote->missed = there ? 0 : remote->missed + 1;
    if (remote->missed >= (remote->listed ? 1 : 3) && (calm_ || again)) gone.push_back(key);
  }
  for (const std::string& key : gone) forget(key);
  for (const cluster::Node& known : membership.nodes) {
    if (known.key == key_) continue;
    RemoteNode& remote = node(known.key);
    remote.listed = true;
    if (remote.adopter != known.adopter) remote.gateway = 0;  // the next one has another clock
    remote.adopter = known.adopter;
    if (remote.gateway < known.gateway) {
      remote.gateway = known.gateway;
      on_gateway_changed(remote);
    }
    const bool speaks = known.remaining_ms != 0 && known.gateway != 0;
    remote.lease_until = speaks ? core_.now() + known.remaining_ms : 0;
    tell(remote);
    if (core_.env.adopts && calm_ && known.remaining_ms == 0 && known.adopter != key_) adopt(known.key);
  }
  if (any_lost()) apart_at_ = core_.now();
  note_reached();
  if (redis_lost) share_sender_.on_redis_lost();
  run_marks();
  open_if_known();
  const auto ours = [this](const cluster::Node& known) { return known.adopter == key_; };
  core_.page.set(metrics::Gauge::cluster_adopting,
                 static_cast<uint64_t>(std::ranges::count_if(membership.nodes, ours)));
  if (core_.env.on_nodes) core_.env.on_nodes(membership, calm_);
}

// Redis decides, by the time since when its lease has run out. Who is to go on with it is told by on_nodes().
void Gateway::adopt(const std::string& key) {
  hub_.adopt(key, lease_ms_, lease_ms_ + kGuestMs, [this, key](Status status, const std::string& name) {
    if (status != Status::ok || name.empty()) return;
    log(2, "a host is dead: going on with what it had", {{"node", key}, {"as", name}});
    core_.page.add(metrics::Counter::cluster_nodes_adopted);
    renew_soon_ = true;
  });
}

// Nothing is held here: what the directory has of us is left over from clients without a session.
void Gateway::bury() {
  if (!joined_ || burying_ || buried_) return;
  burying_ = true;
  const auto open = std::make_shared<uint32_t>(hub_.directory_parts());
  for (uint32_t part = 0; part < hub_.directory_parts(); ++part) {
    hub_.mine(part, [this, open](Status, const std::vector<cluster::Hub::Mine>& mine) {
      for (const cluster::Hub::Mine& entry : mine) {
        if (entry.holds) {
          hub_.release(entry.client, entry.epoch, [](Status) {});
        } else {
          hub_.withdraw(entry.client, entry.epoch, [](Status) {});
        }
      }
      if (--*open != 0) return;
      hub_.bury([this](Status status) {
        burying_ = false;
        if (status != Status::ok) return;
        buried_ = true;
        if (core_.env.on_buried) core_.env.on_buried();
      });
    });
  }
}

// Who renews does so within a lease, and tells then what it has.
void Gateway::on_redis_lost() {
  sure_at_ = core_.now() + calm_after(lease_ms_);
}

// What this host's `status` says of the cluster.
void Gateway::show() const {
  using metrics::Gauge;
  const auto live = [this](const auto& entry) { return is_live(*entry.second); };
  const auto whole = [this](const auto& entry) { return !is_live(*entry.second) || entry.second->synced; };
  const base::MonoMs now = core_.now();
  core_.page.set(Gauge::redis_up, hub_.up() ? 1 : 0);
  const uint32_t missing = hub_.missing_servers();
  core_.page.set(Gauge::cluster_missing_servers, missing);
  core_.page.set(Gauge::cluster_ready, joined_ && open_ && missing == 0 && std::ranges::all_of(nodes_, whole) ? 1 : 0);
  core_.page.set(Gauge::cluster_nodes, static_cast<uint64_t>(std::ranges::count_if(nodes_, live)) + (joined_ ? 1 : 0));
  core_.page.set(Gauge::cluster_lease_ms, lease_until_ > now ? lease_until_ - now : 0);
  uint64_t waiting = 0;
  for (const auto& [key, remote] : nodes_) waiting += remote->stream.waiting_bytes();
  core_.page.set(Gauge::cluster_waiting_bytes, waiting);
  core_.page.set(Gauge::cluster_inbox_bytes, inbox_.pending_bytes());
}

void Gateway::fenced(const char* what) {
  if (fenced_ || buried_) return;
  fenced_ = true;
  core_.page.add(metrics::Counter::cluster_fenced);
  log(2, "this host's life in the cluster has ended: beginning another", {{"found by", what}});
  if (core_.env.on_fenced) core_.env.on_fenced();
}

bool Gateway::all_have_told() const {
  return joined_ && calm_ && !unsure() && core_.now() >= apart_at_ + calm_after(lease_ms_);
}

bool Gateway::any_lost() const {
  return std::ranges::any_of(nodes_, [](const auto& entry) { return is_lost(*entry.second); });
}

RemoteNode* Gateway::find(std::string_view key) {
  const auto it = nodes_.find(key);
  return it == nodes_.end() ? nullptr : it->second.get();
}

RemoteNode& Gateway::node(const std::string& key) {
  auto& place = nodes_[key];
  if (!place) {
    place = std::make_unique<RemoteNode>(key, core_.env.node_batch, serials_);
    routes_.add(place->interest);
    by_id_.resize(std::max<size_t>(by_id_.size(), place->interest.id + 1u));
    by_id_[place->interest.id] = place.get();
    log(1, "a node", {{"node", key}});
  }
  return *place;
}

void Gateway::forget(const std::string& key) {
  const auto it = nodes_.find(key);
  RemoteNode& remote = *it->second;
  log(1, "a node is gone", {{"node", key}});
  imports_.on_node_gone(key);
  exports_.on_node_gone(key);
  routes_.remove(remote.interest);
  shares_.remove(remote.interest.id, remote.members);
  by_id_[remote.interest.id] = nullptr;
  release_waiting(remote);
  const NodeStream::Abandoned left = remote.stream.abandon();
  remote.parts.drop(inbox_);
  nodes_.erase(it);
  share_sender_.on_forgotten(key);
  // What has not reached it is for who has its sessions now: whoever that is will say what it wants.
  std::vector<bus::MessageRef> messages;
  for_each_node_frame(left.frames, [&](NodeFrame type, std::string_view body) {
    bus::Reader reader(body);
    if (type != NodeFrame::publish) return true;
    if (bus::MessageRef message = bus::read_message(reader, base::BufferRef(), expiry_shift())) {
      messages.push_back(std::move(message));
    }
    return true;
  });
  if (messages.empty()) {
    for (const TicketId ticket : left.tickets) core_.tickets->done(ticket);
    return;
  }
  knows_all_ = heard_all_ = false;
  auto open = std::make_shared<size_t>(messages.size());
  for (const bus::MessageRef& message : messages) {
    core_.tickets->begin([this, open, tickets = left.tickets] {
      if (--*open != 0) return;
      for (const TicketId ticket : tickets) core_.tickets->done(ticket);
    });
    forward(message);
    core_.tickets->end();
  }
}

// Whose lease has run out is not there any more for shared groups, nor anybody while Redis is away.
void Gateway::note_reached() {
  for_each([this](RemoteNode& remote) {
    shares_.set_reached(remote.interest.id, remote.members, joined_ && is_live(remote));
  });
  share_sender_.retry();
}

void Gateway::on_timer(base::TimerNode& timer) {
  Gateway& self = static_cast<Timer&>(timer).gateway;
  self.core_.wheel.arm(timer, self.core_.now() + kTickMs);
  if (self.hub_.up() && !self.joining_ && !self.buried_ && (self.renew_soon_ || self.core_.now() >= self.renew_at_)) {
    if (self.joined_) {
      self.renew();
    } else {
      self.join();
    }
  }
  self.inbox_.poke();
  self.for_each([](RemoteNode& remote) { remote.stream.try_again(); });
  self.directory_.run();
  self.imports_.run();
  self.retained_.poke();
  self.note_reached();
  self.run_marks();
  self.open_if_known();
  self.show();
}

void Gateway::end_of_turn() {
  send_marks();
  exports_.run();
  copies_.end_of_turn();
  for (auto& [key, remote] : nodes_) {
    if (!remote->datagrams.empty() && (!joined_ || remote->marked >= remote->large_until)) {
      if (joined_ && hub_.outstanding() < kMaxOutstanding) {
        hub_.datagram(key, remote->datagrams.take(core_.self.incarnation));
      } else {
        drop_datagrams(remote->datagrams.messages());
        remote->datagrams.drop();
      }
    }
    if (!joined_) continue;
    remote->stream.flush(hub_, [this](const std::string& to, uint64_t number, Status status) {
      RemoteNode* there = find(to);
      if (status == Status::fenced) return fenced("a batch");
      if (there == nullptr) return;
      if (status == Status::ok) {
        core_.page.add(metrics::Counter::cluster_batches_sent);
        core_.page.add(metrics::Counter::cluster_bytes_sent, there->stream.under_way_bytes());
      }
      for (const TicketId ticket : there->stream.on_sent(number, status)) core_.tickets->done(ticket);
    });
  }
  hub_.flush();
}

// --- opening ---

void Gateway::on_workers_synced() {
  workers_synced_ = true;
  if (joined_) inbox_.open(key_, inbox_end_);
  for_each([this](RemoteNode& remote) { tell(remote); });
  open_if_known();
}

// Everybody may send everything here while a host that is down (a predecessor knew what it wants, or another host) has
// not said what it wants: that would be lost.
Told Gateway::told() const {
  if (heard_all_) return Told::all;
  return knows_all_ ? Told::unheard : Told::partial;
}

// Whoever is live has told what it wants, and what is retained is here; or nobody can be asked; or somebody is not able
// to say it.
void Gateway::open_if_known() {
  if (heard_all_ || !workers_synced_) return;
  const bool late = core_.now() >= started_ + lease_ms_;
  const RemoteNode* silent = nullptr;
  for (const auto& [key, remote] : nodes_) {
    if (is_live(*remote) && !remote->synced) silent = remote.get();
  }
  // What a predecessor knew may have been lost with Redis: then everybody has the time to come back.
  const bool live_told = joined_ && silent == nullptr;
  const bool all = live_told && (!had_predecessor_ || calm_);
  const bool retained = !joined_ || retained_.synchronised();
  // A host's clients are not kept waiting; who goes on with a dead host has none, and wills that it fires are for all.
  const bool alone = !core_.config.is_guest() && ((!joined_ && down_) || late);
  if (!open_ && !(live_told && retained) && !alone) return;
  if (!open_ && late && silent != nullptr) log(2, "a node has not told what it wants", {{"node", silent->key}});
  knows_all_ = knows_all_ || all;
  heard_all_ = all && std::ranges::all_of(
                          nodes_, [](const auto& entry) { return !entry.second->listed || entry.second->synced; });
  if (knows_all_) {
    for (const Waiting& held : std::exchange(held_, {})) {
      if (!held.message) {
        if (RemoteNode* to = find(held.to)) append_behind(*to, held.type, held.body);
        continue;
      }
      core_.tickets->resume(held.ticket);
      forward(held.message);
      core_.tickets->end_resumed();
    }
  }
  if (heard_all_) forget_predecessor();
  if (!open_ || knows_all_) core_.peers->finish_sync(told());
  if (std::exchange(open_, true)) return;
  show();
  if (core_.env.on_ready) core_.env.on_ready();
}

// A worker that is as new as this gateway would not know what is wanted where nobody can be asked now.
bool Gateway::on_predecessor_route(std::string_view body) {
  bus::Reader reader(body);
  reader.get<uint8_t>();
  reader.get<uint8_t>();
  const std::string_view filter = reader.text();
  if (!reader.at_end()) return false;
  if (heard_all_) return true;
  std::string route;
  NodeRoutes::route_body(route, true, filter);
  return routes_.on_route(predecessor().interest, route);
}

bool Gateway::on_predecessor_share(std::string_view body) {
  if (heard_all_) return true;
  return shares_.on_share(predecessor().interest.id, predecessor().members, body);
}

Gateway::Predecessor& Gateway::predecessor() {
  if (!predecessor_) {
    predecessor_ = std::make_unique<Predecessor>();
    routes_.add(predecessor_->interest);
  }
  return *predecessor_;
}

void Gateway::forget_predecessor() {
  if (!predecessor_) return;
  routes_.remove(predecessor_->interest);
  shares_.remove(predecessor_->interest.id, predecessor_->members);
  predecessor_.reset();
}

// --- announcements ---

void Gateway::tell(RemoteNode& remote) {
  if (!workers_synced_ || remote.gateway == 0 || remote.told == remote.gateway) return;
  remote.told = remote.gateway;
  std::string body;
  bus::Writer(body).put<uint64_t>(remote.gateway);
  remote.stream.append(NodeFrame::sync_begin, body);
  routes_.tell_all(remote.stream);
  shares_.tell_all(remote.stream);
  bus::Writer(body).put<uint64_t>(remote.gateway);
  remote.stream.append(NodeFrame::sync_end, body);
  bus::Writer(body).put<uint64_t>(announced_);
  remote.stream.append(NodeFrame::mark, body);
}

void Gateway::announce(NodeFrame type, std::string_view body) {
  ++announced_;
  for_each([&](RemoteNode& remote) {
    if (remote.told != 0) remote.stream.append(type, body);
  });
}

void Gateway::withdraw(const std::vector<std::string>& filters) {
  std::string body;
  for (const std::string& filter : filters) {
    NodeRoutes::route_body(body, false, filter);
    announce(NodeFrame::route, body);
  }
}

bool Gateway::on_worker_route(uint32_t slot, std::string_view body) {
  bus::Reader reader(body);
  const bool add = reader.get<uint8_t>() != 0;
  const bool durable = reader.get<uint8_t>() != 0;
  const std::string_view filter = reader.text();
  if (!reader.at_end()) return false;
  if (!routes_.on_worker_route(slot, add, durable, filter)) return true;
  std::string told;
  NodeRoutes::route_body(told, add, filter);
  announce(NodeFrame::route, told);
  return true;
}

void Gateway::on_worker_left(uint32_t slot) {
  withdraw(routes_.on_worker_left(slot));
}

void Gateway::on_worker_synced(uint32_t slot) {
  withdraw(routes_.on_worker_synced(slot));
  imports_.on_worker_synced(slot);
}

void Gateway::on_worker_shares_gone(const WorkerId& worker) {
  shares_.on_workers_changed();
  share_sender_.on_worker_gone(worker);
  share_receiver_.on_worker_gone(worker);
}

void Gateway::on_worker_shares_told(Peer& worker) {
  shares_.on_workers_changed();
  share_receiver_.on_worker_synced(worker);
}

bool Gateway::on_mark(const WorkerId& from, std::string_view body) {
  bus::Reader reader(body);
  const auto number = reader.get<uint64_t>();
  if (!reader.at_end()) return false;
  marks_.push_back({from, number, announced_});
  run_marks();
  return true;
}

void Gateway::send_marks() {
  if (mark_sent_ == announced_) return;
  mark_sent_ = announced_;
  std::string body;
  bus::Writer(body).put<uint64_t>(announced_);
  for_each([&](RemoteNode& remote) {
    if (remote.told != 0) remote.stream.append(NodeFrame::mark, body);
  });
}

// A node that is not live accepts nothing that it would have to know us for. While Redis is away nobody is reached.
void Gateway::run_marks() {
  if (marks_.empty()) return;
  uint64_t everywhere = announced_;
  if (joined_) {
    for_each([&](const RemoteNode& remote) {
      if (!is_lost(remote)) everywhere = std::min(everywhere, remote.marked);
    });
  }
  while (!marks_.empty() && marks_.front().announced <= everywhere) {
    const Mark mark = marks_.front();
    marks_.pop_front();
    Peer* peer = core_.peers->find(mark.worker);
    if (peer == nullptr) continue;
    bus::Writer(core_.scratch).put<uint64_t>(mark.number);
    core_.peers->send(*peer, bus::FrameType::marked, bus::kAckSoon, core_.scratch);
  }
}

// --- sessions ---

void Gateway::on_gateway_changed(RemoteNode& remote) {
  remote.marked = remote.large_until = 0;
  imports_.on_gateway_changed(remote);
  exports_.on_gateway_changed(remote);
}

bool Gateway::may_say_more(std::string_view key, uint64_t incarnation) const {
  for (const auto& [name, remote] : nodes_) {
    if (remote->gateway == incarnation) return !is_lost(*remote);
  }
  const auto of = nodes_.find(key);
  return of != nodes_.end() && !is_lost(*of->second);
}

void Gateway::tell_joined() {
  core_.peers->for_each([this](Peer& peer) {
    tell_life(peer);
    core_.peers->send(peer, bus::FrameType::cluster_joined, bus::kAckSoon, {});
  });
}

void Gateway::tell_life(Peer& peer) {
  bus::Writer(core_.scratch).put<uint64_t>(cluster_).text(key_);
  core_.peers->send(peer, bus::FrameType::life, bus::kAckSoon, core_.scratch);
}

void Gateway::on_peer_linked(Peer& peer) {
  directory_.on_workers_changed();
  exports_.sync_to(peer);
  exports_.on_peer_linked(peer);
  copies_.on_peer_linked(peer);
  if (!key_.empty()) tell_life(peer);
  if (joined_) core_.peers->send(peer, bus::FrameType::cluster_joined, bus::kAckSoon, {});
}

void Gateway::on_peer_gone(const WorkerId& worker) {
  directory_.on_workers_changed();
  imports_.on_worker_gone(worker);
  exports_.on_peer_gone(worker);
  copies_.on_peer_gone(worker);
}

std::optional<bool> Gateway::on_peer_frame(Peer& from, bus::FrameType type, std::string_view body,
                                           const base::BufferRef& attachment) {
  using bus::FrameType;
  switch (type) {
    case FrameType::cluster_claim:
      return directory_.on_claim(from.id, body);
    case FrameType::cluster_held:
      return directory_.on_held(from.id, body);
    case FrameType::grant:
      return exports_.on_grant(body);
    case FrameType::state_begin:
    case FrameType::state_delivery:
    case FrameType::state_end:
      return exports_.on_state(from.id, type, body, attachment);
    case FrameType::pull:
      return imports_.on_pull(from.id, body);
    case FrameType::takeover_abort:
      return imports_.on_abort(from.id, body);
    case FrameType::cut:
      return on_cut(from.id, body);
    case FrameType::freeze:
      return imports_.on_freeze(from.id, body);
    case FrameType::cut_sent:
      return exports_.on_cut_sent(from.id, body);
    case FrameType::cut_request: {
      bus::Reader reader(body);
      reader.get<uint64_t>();
      reader.get<uint32_t>();
      // For a session that comes from another host we stand for its owner; else we are one who may write to it.
      if (reader.get<uint64_t>() == core_.self.incarnation) return imports_.on_cut_request(from.id, body);
      return std::nullopt;
    }
    case FrameType::stale:
      return true;  // the directory above has been told
    case FrameType::predecessor:
      had_predecessor_ = true;
      return body.empty();
    case FrameType::predecessor_route:
      return on_predecessor_route(body);
    case FrameType::predecessor_share:
      return on_predecessor_share(body);
    case FrameType::redis_lost:
      on_redis_lost();
      return body.empty();
    default:
      return std::nullopt;
  }
}

// --- messages ---

void Gateway::forward(const bus::MessageRef& message) {
  if (!knows_all_ && in_stream(*message)) {  // what waited for a gateway: nobody knows yet for whom
    held_.push_back({message, core_.tickets->wait(), {}, {}, {}});
    return;
  }
  targets_.clear();
  for (const router::LocalSubscription& s : core_.publisher->match(message->topic()).local) {
    if (std::ranges::find(targets_, s.subscriber) == targets_.end()) targets_.push_back(s.subscriber);
  }
  const int64_t shift = expiry_shift();
  const auto unheard = [this](const RemoteNode& remote) { return !heard_all_ && remote.listed && !remote.synced; };
  for (const uint32_t id : targets_) {
    if (predecessor_ && id == predecessor_->interest.id) continue;
    RemoteNode& remote = *by_id_[id];
    core_.page.add(metrics::Counter::cluster_messages_sent);
    if (in_stream(*message)) {
      if (unheard(remote)) continue;
      remote.stream.append(NodeFrame::publish, {}, *message, shift);
      remote.stream.wait(core_.tickets->wait());
    } else {
      send_datagram(remote, NodeFrame::publish, {}, *message);
    }
  }
  if (heard_all_ || !in_stream(*message)) return;
  for_each([&](RemoteNode& remote) {
    if (unheard(remote)) remote.waiting.push_back({message, core_.tickets->wait(), {}, {}, {}});
  });
}

void Gateway::release_waiting(RemoteNode& remote) {
  for (const Waiting& waiting : std::exchange(remote.waiting, {})) {
    if (!waiting.message) {
      remote.stream.append(waiting.type, waiting.body);
      continue;
    }
    core_.tickets->resume(waiting.ticket);
    const bool wanted =
        std::ranges::any_of(core_.publisher->match(waiting.message->topic()).local,
                            [&](const router::LocalSubscription& s) { return s.subscriber == remote.interest.id; });
    if (wanted) {
      remote.stream.append(NodeFrame::publish, {}, *waiting.message, expiry_shift());
      remote.stream.wait(core_.tickets->wait());
    }
    core_.tickets->end_resumed();
  }
}

void Gateway::append_behind(RemoteNode& to, NodeFrame type, std::string_view body) {
  if (!held_.empty()) {
    held_.push_back({{}, kNoTicket, to.key, type, std::string(body)});
  } else if (!to.waiting.empty()) {
    to.waiting.push_back({{}, kNoTicket, {}, type, std::string(body)});
  } else {
    to.stream.append(type, body);
  }
}

void Gateway::drop_datagrams(uint64_t messages) {
  core_.page.add(metrics::Counter::publish_dropped_bus, messages);
  core_.page.add(metrics::Counter::cluster_dropped_qos0, messages);
}

void Gateway::send_datagram(RemoteNode& to, NodeFrame type, std::string_view prefix, const bus::Message& message) {
  if (!joined_ || to.datagrams.size() >= kMaxOutstanding) return drop_datagrams(1);
  const size_t size = prefix.size() + bus::message_size(message);
  if (size > kLargeDatagram) return send_large(to, type, prefix, message);
  to.datagrams.append(type, prefix, message, expiry_shift());
}

// In the order of all QoS 0 messages for that node: behind those that wait, and before the next ones, which wait until
// it is there.
void Gateway::send_large(RemoteNode& to, NodeFrame type, std::string_view prefix, const bus::Message& message) {
  if (to.told == 0 || to.stream.waiting_bytes() >= kMaxOutstanding) return drop_datagrams(1);
  if (!to.datagrams.empty()) to.stream.append_frames(to.datagrams.take(core_.self.incarnation));
  to.stream.append(type, prefix, message, expiry_shift());
  to.large_until = ++announced_;
}

void Gateway::on_datagram(std::string_view from, std::string_view frames) {
  RemoteNode* remote = find(from);
  if (remote == nullptr || !workers_synced_) return;
  if (!on_frames(*remote, remote->gateway, frames, nullptr)) {
    log(3, "malformed datagram", {{"from", from}});
  }
}

bool Gateway::on_frames(RemoteNode& from, uint64_t gateway, std::string_view frames, NodeInbox* inbox,
                        const base::BufferRef& buffer) {
  if (from.gateway < gateway) {
    from.gateway = gateway;
    on_gateway_changed(from);
    tell(from);
  }
  // What a gateway that has been replaced wanted, or was passing on, has been begun anew; an answer to what it asked
  // would be taken for one to its successor.
  const bool replaced = gateway < from.gateway;
  if (inbox != nullptr) from.parts.on_gateway(gateway, *inbox);
  return for_each_node_frame(frames, [&](NodeFrame type, std::string_view body) {
    if (type == NodeFrame::part) return !buffer && on_part(from, gateway, body, inbox);
    const bool asks = type == NodeFrame::pull || type == NodeFrame::mark;
    return (replaced && (asks || dies_with_its_gateway(type))) || on_frame(from, type, body, inbox, buffer);
  });
}

bool Gateway::on_part(RemoteNode& from, uint64_t gateway, std::string_view body, NodeInbox* inbox) {
  base::BufferRef whole;
  if (inbox == nullptr || !from.parts.take(gateway, body, *inbox, whole)) return false;
  return !whole || on_frames(from, gateway, {whole->data(), whole->capacity()}, inbox, whole);
}

bool Gateway::on_frame(RemoteNode& from, NodeFrame type, std::string_view body, NodeInbox* inbox,
                       const base::BufferRef& buffer) {
  bus::Reader reader(body);
  switch (type) {
    case NodeFrame::sync_begin:
      routes_.begin_sync(from.interest);
      shares_.begin_sync(from.members);
      return body.size() == sizeof(uint64_t);
    case NodeFrame::route:
      return routes_.on_route(from.interest, body);
    case NodeFrame::share:
      if (!shares_.on_share(from.interest.id, from.members, body)) return false;
      share_sender_.retry();
      return true;
    case NodeFrame::sync_end: {
      const auto gateway = reader.get<uint64_t>();
      if (!reader.at_end()) return false;
      routes_.end_sync(from.interest);
      shares_.end_sync(from.interest.id, from.members);
      if (gateway == core_.self.incarnation) {
        from.synced = true;
        release_waiting(from);
      }
      open_if_known();
      return true;
    }
    case NodeFrame::mark: {
      const auto number = reader.get<uint64_t>();
      if (!reader.at_end()) return false;
      core_.peers->when_announced(core_.interest->last_announcement(),
                                  [this, key = from.key, gateway = from.gateway, number] {
                                    RemoteNode* to = find(key);
                                    if (to == nullptr) return;
                                    std::string answer;
                                    bus::Writer(answer).put<uint64_t>(number).put<uint64_t>(gateway);
                                    to->stream.append(NodeFrame::marked, answer);
                                  });
      return true;
    }
    case NodeFrame::marked: {
      const auto number = reader.get<uint64_t>();
      const auto gateway = reader.get<uint64_t>();
      if (!reader.at_end()) return false;
      if (gateway == core_.self.incarnation) from.marked = std::max(from.marked, number);
      run_marks();
      return true;
    }
    case NodeFrame::publish:
      return on_publish(body, inbox, buffer);
    case NodeFrame::part:
      return false;  // on_frames() takes it
    case NodeFrame::counted:
      return on_counted(from, body);
    case NodeFrame::pull:
      return exports_.on_pull(from, body);
    case NodeFrame::cut_request:
      return exports_.on_cut_request(from, body);
    case NodeFrame::cut:
      return exports_.on_cut(body);
    case NodeFrame::freeze:
      return exports_.on_freeze(from, body);
    case NodeFrame::abort:
      return exports_.on_abort(from, body);
    case NodeFrame::stale:
      return exports_.on_stale(from, body);
    case NodeFrame::restart:
    case NodeFrame::state_begin:
    case NodeFrame::state_delivery:
    case NodeFrame::state_end:
      return imports_.on_state(from, type, body);
    case NodeFrame::stray:
      return strays_.on_node_stray(body);
    case NodeFrame::cut_sent:
      return imports_.on_cut_sent(from, body);
    // In the inbox of a node that this one has adopted: who asked asks another, or has had its answer.
    case NodeFrame::shared_publish:
      return (inbox != nullptr && inbox != &inbox_) || share_receiver_.on_publish(from, body, inbox);
    case NodeFrame::shared_result:
      return inbox != &inbox_ || share_sender_.on_result(from, body);
  }
  return false;
}

// Redis passes on what comes from one sender in its order. Where a gateway begins, or another one, nothing is known.
bool Gateway::on_counted(RemoteNode& from, std::string_view body) {
  bus::Reader reader(body);
  const auto gateway = reader.get<uint64_t>();
  const auto before = reader.get<uint64_t>();
  const auto messages = reader.get<uint32_t>();
  if (!reader.at_end()) return false;
  if (from.heard.gateway == gateway && before > from.heard.messages) {
    core_.page.add(metrics::Counter::cluster_lost_qos0, before - from.heard.messages);
  }
  from.heard = {gateway, before + messages};
  return true;
}

bool Gateway::was_given(const bus::Message& message, uint64_t entry) const {
  return !in_stream(message) && entry <= inbox_end_;
}

bool Gateway::on_publish(std::string_view body, NodeInbox* inbox, const base::BufferRef& buffer) {
  bus::Reader reader(body);
  const bus::MessageRef message = bus::read_message(reader, buffer, expiry_shift());
  if (!message) return false;
  core_.page.add(metrics::Counter::cluster_messages_received);
  if (inbox == nullptr) {
    if (in_stream(*message)) return false;
    core_.tickets->begin_unwatched();
    core_.publisher->relay(message);
    return true;
  }
  const uint64_t entry = inbox->hold();
  core_.tickets->begin([inbox, entry] { inbox->release(entry); });
  if (!was_given(*message, entry)) core_.publisher->relay(message);
  core_.tickets->end();
  return true;
}

}  // namespace broker
