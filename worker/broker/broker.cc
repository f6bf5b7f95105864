#include "worker/broker/broker.h"

#include <limits>

#include "proto/topic.h"
#include "shared/bus/publish_frame.h"
#include "worker/broker/accepted.h"
#include "worker/broker/arrivals.h"
#include "worker/broker/claims.h"
#include "worker/broker/client_table.h"
#include "worker/broker/copier.h"
#include "worker/broker/core.h"
#include "worker/broker/departures.h"
#include "worker/broker/gateway.h"
#include "worker/broker/host_life.h"
#include "worker/broker/interest.h"
#include "worker/broker/journal.h"
#include "worker/broker/outbox.h"
#include "worker/broker/peers.h"
#include "worker/broker/publisher.h"
#include "worker/broker/records.h"
#include "worker/broker/retained_service.h"
#include "worker/broker/sessions.h"
#include "worker/broker/shared_dispatch.h"
#include "worker/broker/strays.h"
#include "worker/broker/sys_topics.h"
#include "worker/broker/takeovers.h"
#include "worker/broker/tickets.h"

namespace broker {
namespace {
constexpr base::MonoMs kHouseKeepingMs = 1000;
// Some milliseconds of work.
constexpr int64_t kDeliveriesPerTurn = 20'000;
}  // namespace

// Composes the parts and stands between them and their callers.
class Broker::Impl final : public connection::Host, public PeerEvents {
 public:
  explicit Impl(Environment environment)
      : core_(std::move(environment)),
        make_buffer_([](size_t size) { return std::make_unique<base::SharedPacketBuffer>(size); }),
        tickets_(clients_),
        peers_(core_, *this),
        sessions_(core_),
        interest_(core_),
        publisher_(core_),
        shared_(core_),
        retained_(core_),
        claims_(core_),
        takeovers_(core_),
        departures_(core_),
        journal_(core_),
        copier_(core_),
        life_(core_),
        strays_(core_),
        records_(core_),
        outbox_(core_),
        accepted_(core_),
        arrivals_(core_),
        sys_(core_),
        house_keeping_(*this) {
    core_.peers = &peers_;
    core_.sessions = &sessions_;
    core_.interest = &interest_;
    core_.publisher = &publisher_;
    core_.shared = &shared_;
    core_.retained = &retained_;
    core_.claims = &claims_;
    core_.takeovers = &takeovers_;
    core_.departures = &departures_;
    core_.journal = &journal_;
    core_.copier = &copier_;
    core_.life = &life_;
    core_.strays = &strays_;
    core_.records = &records_;
    core_.session_shared.recorder = &records_;
    core_.outbox = &outbox_;
    core_.accepted = &accepted_;
    core_.tickets = &tickets_;
    core_.clients = &clients_;
    if (core_.env.hub != nullptr) {
      gateway_ = std::make_unique<Gateway>(core_);
      core_.gateway = gateway_.get();
    }
    client_context_.config = &core_.mqtt;
    client_context_.clock = core_.env.clock;
    client_context_.wheel = &core_.wheel;
    client_context_.page = core_.page;
    client_context_.host = this;
    client_context_.make_buffer = &make_buffer_;
    client_context_.budget = kDeliveriesPerTurn;
    if (core_.env.log) {
      client_context_.log = [this](int level, std::string_view event, const connection::MqttClient& client,
                                   std::string_view detail) { log_client(level, event, client, detail); };
    }
    core_.wheel.arm(house_keeping_, core_.now() + kHouseKeepingMs);
  }

  ~Impl() override {
    stopping_ = true;
    clients_.for_each([](connection::MqttClient& client) { client.on_transport_closed(); });
  }

  Core& core() { return core_; }
  Peers& peers() { return peers_; }
  ClientTable& clients() { return clients_; }

  connection::Client* open_client(connection::ClientTransport& transport) {
    core_.page.add(metrics::Counter::connections_accepted);
    return &clients_.open(client_context_, transport);
  }

  void load() {
    records_.load();
    journal_.end_of_turn();
    if (gateway_) gateway_->start();
  }

  void advance() { core_.wheel.advance(core_.now()); }

  void end_of_turn() {
    core_.env.store->run_completions();
    copier_.run();
    if (gateway_) gateway_->run_completions();
    client_context_.budget = kDeliveriesPerTurn;
    const std::vector<ClientRef> deferred = std::move(deferred_);
    deferred_.clear();
    for (const ClientRef ref : deferred) {
      if (connection::MqttClient* client = clients_.find(ref)) client->continue_parsing();
    }
    more_work_ = retained_.run_slice() || !deferred_.empty();
    if (peers_.ready() && told_ && !recovered_ && !departures_.holding() && !accepted_.waits() &&
        (!gateway_ || gateway_->recovered())) {
      recovered_ = true;
      peers_.for_each([this](Peer& peer) { peers_.send(peer, bus::FrameType::recovered, bus::kAckSoon, {}); });
      on_recovered();
    }
    journal_.end_of_turn();
    peers_.end_of_turn();
    while (!close_later_.empty()) {
      const std::vector<CloseLater> batch = std::move(close_later_);
      close_later_.clear();
      for (const CloseLater& c : batch) {
        if (connection::MqttClient* client = clients_.find(c.client)) client->close(c.reason, c.what);
      }
      peers_.end_of_turn();
    }
    journal_.end_of_turn();  // what flushed links released has written again
    if (gateway_) gateway_->end_of_turn();
    clients_.sweep();
  }

  bool more_work() const { return more_work_; }
  bool saturated() const { return client_context_.budget <= 0; }

  void drain(size_t max) {
    stopping_ = true;
    clients_.for_each([&max](connection::MqttClient& client) {
      if (max == 0) return;
      --max;
      client.close(proto::ReasonCode::server_shutting_down, "server is shutting down");
    });
  }

  // --- connection::Host ---
  void claim(connection::MqttClient& client, const connection::ConnectRequest& request) override {
    if (stopping_) {
      client.on_refused(proto::ReasonCode::server_unavailable);
      return;
    }
    if (request.session_expiry != 0 && journal_.stuck()) {
      client.on_refused(proto::ReasonCode::server_unavailable);  // its session could not be stored
      return;
    }
    claims_.claim(client, request);
  }

  connection::PublishOutcome publish(connection::MqttClient& client, const proto::Publish& packet,
                                     std::string_view topic, std::unique_ptr<proto::PacketBuffer> buffer,
                                     uint64_t pending) override {
    bus::Message::Fields fields;
    fields.qos = packet.qos;
    fields.retain = packet.retain;
    fields.topic = topic;
    fields.publisher = client.client_id();
    fields.payload = packet.payload;
    if (packet.properties.message_expiry_interval) {
      fields.expires_at = core_.now() + uint64_t{*packet.properties.message_expiry_interval} * 1000;
    }
    if (!packet.properties.block.empty()) {
      properties_.resize(proto::forwarded_properties_size(packet.properties.block));
      proto::copy_forwarded_properties(packet.properties.block, properties_.data());
      fields.properties = properties_;
    }
    if (buffer) fields.payload_buffer = static_cast<base::SharedPacketBuffer*>(buffer.get())->take();
    const bool accept = packet.qos == proto::QoS::exactly_once && client.session()->stored();
    if (!accept && client.accepting == 0) return publisher_.publish(client, fields, pending);
    // Later messages of this client keep behind it, or an older retained message might outlive a newer one.
    ++client.accepting;
    const auto answer = [this, ref = ref_of(client), pending](proto::ReasonCode reason) {
      connection::MqttClient* c = clients_.find(ref);
      if (c == nullptr) return;
      --c->accepting;
      c->publish_complete(pending, reason);
    };
    if (accept && journal_.refuses()) {
      --client.accepting;
      return publisher_.refuse(client, pending);
    }
    if (accept) {
      // Its packet id is being written: message and identity with it. PUBREC rests on that.
      accepted_.accept(fields, ref_of(client), answer);
    } else {
      journal_.then([this, message = bus::Message::make(fields), ref = ref_of(client), pending] {
        connection::MqttClient* c = clients_.find(ref);
        if (c == nullptr) {  // nobody is there for the answer
          publisher_.publish_unwatched(bus::fields_of(*message));
          return;
        }
        --c->accepting;
        const connection::PublishOutcome outcome = publisher_.publish(*c, bus::fields_of(*message), pending);
        if (outcome.complete && message->qos() != proto::QoS::at_most_once)
          c->publish_complete(pending, outcome.reason);
      });
    }
    if (journal_.behind()) journal_.hold_back(client);
    return {false, proto::ReasonCode::success};
  }

  void subscribe(connection::MqttClient& client, const proto::Subscribe& packet,
                 std::vector<proto::ReasonCode> reasons) override {
    session::Session& session = *client.session();
    uint64_t announcement = 0;
    std::vector<uint64_t> replays;
    for (size_t i = 0; i < packet.entries.size(); ++i) {
      if (proto::is_error(reasons[i])) continue;
      const proto::SubscribeEntry& entry = packet.entries[i];
      router::SubscriptionOptions options;
      options.qos = entry.qos;
      options.no_local = entry.no_local;
      options.retain_as_published = entry.retain_as_published;
      options.retain_handling = entry.retain_handling;
      if (!packet.properties.subscription_identifiers.empty()) {
        options.identifier = packet.properties.subscription_identifiers.front();
      }
      const auto shared = proto::parse_shared_filter(entry.filter);
      const std::string_view filter = shared ? shared->filter : entry.filter;
      if (over_subscription_limit(session, shared ? shared->group : std::string_view(), filter)) {
        reasons[i] = proto::ReasonCode::quota_exceeded;
        continue;
      }
      Interest::Subscribed done;
      if (shared) {
        done = interest_.subscribe_shared(session, shared->group, filter, options);
      } else {
        done = interest_.subscribe(session, filter, options);
        const bool wanted = entry.retain_handling == proto::RetainHandling::send ||
                            (entry.retain_handling == proto::RetainHandling::send_if_new && !done.existed);
        retained_.cancel(session, filter);
        if (wanted && core_.mqtt.retain_available) replays.push_back(retained_.prepare(session, filter, options));
      }
      announcement = std::max(announcement, done.announcement);
    }
    // The SUBACK first, retained messages behind it.
    auto finish = [this, ref = ref_of(client), packet_id = packet.packet_id, codes = std::move(reasons),
                   again = std::move(replays)]() mutable {
      connection::MqttClient* c = clients_.find(ref);
      if (c == nullptr || c->session() == nullptr) return;
      c->subscribe_complete(packet_id, std::move(codes));
      for (const uint64_t query : again) retained_.start(query);
    };
    auto announced = [this, announcement, then = std::move(finish)]() mutable {
      if (announcement == 0) {
        then();
      } else {
        peers_.when_announced(announcement, std::move(then));
      }
    };
    if (session.stored()) {
      journal_.then(std::move(announced));
    } else {
      announced();
    }
  }

  void when_stored(connection::MqttClient& client, std::function<void()> then) override {
    if (!client.session()->stored()) {
      then();
      return;
    }
    journal_.then([this, ref = ref_of(client), todo = std::move(then)] {
      if (clients_.find(ref) != nullptr) todo();
    });
  }

  std::vector<proto::ReasonCode> unsubscribe(connection::MqttClient& client,
                                             const proto::Unsubscribe& packet) override {
    std::vector<proto::ReasonCode> reasons;
    session::Session& session = *client.session();
    for (const std::string_view filter : packet.filters) {
      bool existed = false;
      if (const auto shared = proto::parse_shared_filter(filter)) {
        existed = interest_.unsubscribe_shared(session, shared->group, shared->filter);
      } else if (proto::is_valid_topic_filter(filter)) {
        existed = interest_.unsubscribe(session, filter);
        retained_.cancel(session, filter);
      } else {
        reasons.push_back(proto::ReasonCode::topic_filter_invalid);
        continue;
      }
      reasons.push_back(existed ? proto::ReasonCode::success : proto::ReasonCode::no_subscription_existed);
    }
    return reasons;
  }

  void on_client_closed(connection::MqttClient& client, Ending ending) override {
    clients_.retire(client);
    session::Session* session = client.session();
    if (session == nullptr) {
      claims_.abandon(client);
      return;
    }
    core_.page.add(metrics::Gauge::clients_connected, -1);
    if (ending == Ending::taken_over) {
      session->detach();
    } else {
      sessions_.on_disconnected(*session, ending == Ending::with_will);
    }
  }

  void on_client_room(connection::MqttClient& client) override {
    if (client.session() != nullptr) retained_.on_room(*client.session());
  }

  void close_later(connection::MqttClient& client, proto::ReasonCode reason, const char* what) override {
    close_later_.push_back({ref_of(client), reason, what});
  }

  void defer(connection::MqttClient& client) override { deferred_.push_back(ref_of(client)); }

  uint64_t& partial_bytes() override { return partial_bytes_; }

  // --- PeerEvents ---
  bool on_peer_linked(Peer& peer) override {
    peer.link.fit_credit(core_.env.link_credit);
    interest_.sync_to(peer);
    if (gateway_) gateway_->shares().sync_to(peer);
    claims_.sync_to(peer);
    if (!gateway_) life_.sync_to(peer);
    takeovers_.sync_to(peer);
    claims_.resend_to(peer);
    claims_.on_peer_linked(peer);
    if (gateway_) gateway_->on_peer_linked(peer);
    if (from_gateway(peer) && (interest_.keeps(peer.id.slot) || outbox_.waits(peer.id.slot))) {
      peers_.send(peer, bus::FrameType::predecessor, bus::kAckSoon, {});
      interest_.tell_kept(peer);
    }
    outbox_.on_peer_linked(peer);
    retained_.on_peer_linked(peer);
    if (gateway_) gateway_->retained().on_worker_linked(peer);
    if (recovered_) peers_.send(peer, bus::FrameType::recovered, bus::kAckSoon, {});
    return !gateway_ || gateway_->open();
  }

  void on_peer_gone(const WorkerId& peer) override {
    arrivals_.take_of(peer);
    interest_.on_peer_gone(peer.slot);
    shared_.on_peer_gone(peer);
    if (gateway_) gateway_->on_worker_shares_gone(peer);
    retained_.on_peer_gone(peer);
    if (gateway_) gateway_->retained().on_worker_gone(peer);
    claims_.on_peer_gone(peer);
    takeovers_.on_peer_gone(peer);
    if (gateway_) gateway_->on_peer_gone(peer);
    departures_.on_peer_gone(peer);
    copier_.on_gateway_gone(peer);
    sys_.forget_published();
  }

  void on_peer_synced(const WorkerId& peer, Told told) override {
    core_.tree.set_unknown(peer.slot, told == Told::unheard);
    if (told == Told::all) {
      if (gateway_) gateway_->on_worker_synced(peer.slot);
      interest_.on_peer_synced(peer.slot);
    }
    if (Peer* linked = peers_.find(peer)) {
      shared_.on_peer_synced(*linked);
      if (gateway_) gateway_->on_worker_shares_told(*linked);
    }
    claims_.on_peer_synced(peer);
  }

  void on_recovered() {
    take_arrivals();
    claims_.on_recovered();
    takeovers_.on_recovered();
  }

  void on_unstored(const WorkerId& peer, base::Ring<Peer::Unstored> unstored) override {
    outbox_.on_unstored(peer, std::move(unstored));
  }

  void on_all_synced() override {
    if (gateway_) {
      told_ = true;
      gateway_->on_workers_synced();
      return;
    }
    claims_.on_ready();
    life_.on_ready();
    accepted_.on_ready();
    shared_.on_ready();
    take_arrivals();
    peers_.ask_to_acknowledge();
    peers_.when_workers_read([this] { told_ = true; });  // what we hold
    if (core_.env.on_ready) core_.env.on_ready();
    sys_.start();
  }

  bool on_peer_frame(Peer& peer, bus::FrameType type, uint8_t flags, std::string_view body,
                     const base::BufferRef& attachment) override {
    using bus::FrameType;
    if (type == FrameType::cut && arrivals_.keeps_of(peer.id)) {
      arrivals_.keep_behind(peer.id, [this, from = peer.id, frame = std::string(body)] { on_cut(from, frame); });
      return true;
    }
    if (gateway_) {
      if (const auto taken = gateway_->on_peer_frame(peer, type, body, attachment)) return *taken;
    }
    switch (type) {
      case FrameType::ack:
      case FrameType::sync_end:
      case FrameType::stored:
        return false;  // handled below us
      case FrameType::publish:
        return on_publish(peer, flags, body, attachment);
      case FrameType::shared_publish:
        return gateway_ ? gateway_->share_sender().on_publish(peer.id, body, attachment, false)
                        : shared_.on_publish(peer, flags, body, attachment);
      case FrameType::shared_result:
        return gateway_ ? gateway_->share_receiver().on_result(peer.id, body) : shared_.on_result(peer, body);
      case FrameType::shared_where:
        return gateway_ && gateway_->share_sender().on_where(peer.id, body);
      case FrameType::shared_at:
        return gateway_ && gateway_->share_sender().on_publish(peer.id, body, attachment, true);
      case FrameType::shared_there:
        return !gateway_ && shared_.on_there(peer, body);
      case FrameType::shared_known:
        return !gateway_ && shared_.on_known(peer, body);
      case FrameType::shared_go:
        return !gateway_ && shared_.on_go(body);
      case FrameType::route:
        return interest_.on_route(peer.id.slot, body) && (!gateway_ || gateway_->on_worker_route(peer.id.slot, body));
      case FrameType::share:
        return interest_.on_share(peer.id.slot, body) && (!gateway_ || gateway_->shares().on_worker_share(body));
      case FrameType::claim:
        return claims_.on_claim(peer.id, body);
      case FrameType::grant:
        return claims_.on_grant(body);
      case FrameType::superseded:
        return claims_.on_superseded(body);
      case FrameType::held:
        return claims_.on_held(peer.id, body);
      case FrameType::release:
        return claims_.on_release(peer.id, body);
      case FrameType::holding:
        return claims_.on_holding(peer.id, body);
      case FrameType::pull:
        return claims_.on_pull(peer, body);
      case FrameType::state_begin:
        return claims_.on_state_begin(peer, body);
      case FrameType::state_delivery:
        return claims_.on_state_delivery(peer, body, attachment);
      case FrameType::state_end:
        return claims_.on_state_end(peer, body);
      case FrameType::cut_request:
        return takeovers_.on_cut_request(peer, body);
      case FrameType::cut:
        return on_cut(peer.id, body);
      case FrameType::cut_sent:
        return takeovers_.on_cut_sent(peer.id, body);
      case FrameType::freeze:
        return takeovers_.on_freeze(peer.id, body);
      case FrameType::stale:
        return claims_.on_stale(body);
      case FrameType::hang_up:
        return claims_.on_hang_up(peer, body);
      case FrameType::hung_up:
        return claims_.on_hung_up(peer.id, body);
      case FrameType::cluster_granted:
        return claims_.on_cluster_granted(peer.id, body);
      case FrameType::cluster_registered:
        return claims_.on_cluster_registered(body);
      case FrameType::stray:
        if (gateway_) return gateway_->strays().on_worker_stray(body);
        return from_gateway(peer) && strays_.on_stray(body);
      case FrameType::life:
        return from_gateway(peer) ? life_.on_life(body) : !gateway_ && life_.on_peer_life(peer, body);
      case FrameType::cluster_joined:
        claims_.on_cluster_joined();
        return body.empty();
      case FrameType::cluster_lost:
        claims_.on_cluster_lost();
        return body.empty();
      case FrameType::claim_refused:
        return claims_.on_claim_refused(peer.id, body);
      case FrameType::restart:
        return claims_.on_restart(peer, body);
      case FrameType::reclaim:
        return claims_.on_reclaim(peer, body);
      case FrameType::takeover_abort:
        return takeovers_.on_abort(peer.id, body);
      case FrameType::cluster_claim:
      case FrameType::cluster_held:
      case FrameType::predecessor:
      case FrameType::predecessor_route:
      case FrameType::predecessor_share:
      case FrameType::redis_lost:
        return false;  // for a gateway
      case FrameType::departed:
        return departures_.on_departed(peer, body);
      case FrameType::recovered:
        peer.recovered = true;
        if (peer.id.slot == core_.gateway_slot()) shared_.on_gateway_recovered(peer.id);
        on_recovered();
        return body.empty();
      case FrameType::mark:
        return gateway_ ? gateway_->on_mark(peer.id, body) : interest_.far().on_mark(peer.id, body);
      case FrameType::marked:
        return peers_.on_marked(peer, body);
      case FrameType::retain_set:
        return retained_.on_set(peer, flags, body, attachment);
      case FrameType::retain_query:
        return retained_.on_query(peer, body);
      case FrameType::retain_item:
        return retained_.on_item(peer, body, attachment);
      case FrameType::retain_end:
        return retained_.on_end(peer, body);
      case FrameType::retain_credit:
        return retained_.on_credit(peer, body);
      case FrameType::retain_cancel:
        return retained_.on_cancel(peer, body);
      case FrameType::copy:
        return gateway_ && gateway_->copies().on_copy(peer.id, body);
      case FrameType::copied:
        return from_gateway(peer) && copier_.on_copied(body);
      case FrameType::copy_state:
        return from_gateway(peer) && copier_.on_state(peer.id, body);
      case FrameType::retain_state:
        return from_gateway(peer) && retained_.home().on_state(body);
      case FrameType::retain_ordered:
        return from_gateway(peer) && retained_.home().on_ordered(body);
      case FrameType::retain_change:
        return from_gateway(peer) && retained_.home().on_change(body, attachment);
      case FrameType::retain_round:
        return from_gateway(peer) && retained_.home().on_round(body);
      case FrameType::retain_offered:
        return from_gateway(peer) && retained_.home().on_offered(body);
      case FrameType::retain_order:
        return gateway_ && gateway_->retained().on_order(peer, body, attachment);
      case FrameType::retain_offer:
        return gateway_ && gateway_->retained().on_offer(peer, body, attachment);
      case FrameType::retain_stored:
        return gateway_ && gateway_->retained().on_stored(peer, body);
    }
    return false;
  }

 private:
  bool from_gateway(const Peer& peer) const { return peer.id.slot == core_.gateway_slot(); }

  bool on_publish(Peer& peer, uint8_t flags, std::string_view body, const base::BufferRef& attachment) {
    bus::Message::Fields fields;
    if (!bus::read_publish(body, attachment, peer.id.incarnation, fields)) return false;
    std::optional<uint64_t> wanted;
    if ((flags & bus::kWantStored) != 0) wanted = Peers::count_wanted(peer);
    if (!arrivals_.keeping() || !in_stream(fields.qos, fields.identity())) {
      take(peer.id, wanted, fields);
      return true;
    }
    const bus::MessageRef message = bus::Message::make(fields);
    arrivals_.keep(peer.id, *message,
                   [this, from = peer.id, wanted, message] { take(from, wanted, bus::fields_of(*message)); });
    return true;
  }

  // `wanted`: it is to be confirmed under that name.
  void take(const WorkerId& from, std::optional<uint64_t> wanted, const bus::Message::Fields& message) {
    if (wanted) {
      tickets_.begin([this, from, name = *wanted] { peers_.confirm(from, name); });
    } else {
      tickets_.begin_unwatched();
    }
    if (gateway_) {
      gateway_->forward(bus::Message::make(message));
    } else {
      publisher_.deliver_from_peer(message, from.slot == core_.gateway_slot());
    }
    if (wanted) tickets_.end();
  }

  bool on_cut(const WorkerId& from, std::string_view body) {
    return gateway_ ? gateway_->on_cut(from, body) : takeovers_.on_cut(from.incarnation, body);
  }

  // While the sessions of this host are unsure, what was accepted for them waits, and Redis may be away for long.
  void take_arrivals() {
    if (!arrivals_.keeping()) return;
    if (peers_.all_recovered() || (peers_.ready() && life_.unsure_until() != 0)) arrivals_.take_all();
  }

  struct CloseLater {
    ClientRef client;
    proto::ReasonCode reason;
    const char* what;
  };
  struct HouseKeeping : base::TimerNode {
    explicit HouseKeeping(Impl& i) : TimerNode(&Impl::on_house_keeping), impl(i) {}
    Impl& impl;
  };

  static void on_house_keeping(base::TimerNode& node) {
    Impl& self = static_cast<HouseKeeping&>(node).impl;
    self.retained_.home().sweep();
    if (self.clients_.size() != 0) self.records_.write_alive();
    self.life_.note_copied();
    if (self.life_.unsure_until() != 0) self.life_.show();
    self.peers_.close_held_back();
    self.interest_.far().on_tick();
    uint64_t waiting = 0;
    self.peers_.for_each([&](const Peer& peer) { waiting += peer.link.end() - peer.link.written(); });
    self.core_.page.set(metrics::Gauge::bus_waiting_bytes, waiting);
    self.core_.wheel.arm(node, self.core_.now() + kHouseKeepingMs);
  }

  bool over_subscription_limit(session::Session& session, std::string_view group, std::string_view filter) {
    if (core_.mqtt.max_subscriptions == 0 || session.subscriptions.size() < core_.mqtt.max_subscriptions) return false;
    if (!group.empty()) return session.subscriptions.find_share(group, filter) == nullptr;
    const router::NodeId node = core_.tree.find(filter);
    return node == router::kNoNode || session.subscriptions.find(node) == nullptr;
  }

  void log_client(int level, std::string_view event, const connection::MqttClient& client, std::string_view detail) {
    if (level < core_.env.log_level) return;
    const std::string peer = client.peer_address();
    if (detail.empty()) {
      core_.env.log(level, event, {{"client_id", client.client_id()}, {"peer", peer}});
    } else {
      core_.env.log(level, event, {{"client_id", client.client_id()}, {"peer", peer}, {"detail", detail}});
    }
  }

  Core core_;
  proto::Framer::MakeBuffer make_buffer_;
  connection::ClientContext client_context_;
  ClientTable clients_;
  Tickets tickets_;
  Peers peers_;
  Sessions sessions_;
  Interest interest_;
  Publisher publisher_;
  SharedDispatch shared_;
  RetainedService retained_;
  Claims claims_;
  Takeovers takeovers_;
  Departures departures_;
  Journal journal_;
  Copier copier_;
  HostLife life_;
  Strays strays_;
  Records records_;
  Outbox outbox_;
  Accepted accepted_;
  Arrivals arrivals_;
  std::unique_ptr<Gateway> gateway_;  // in the gateway's slot
  bool told_ = false;                 // everybody has read what was restored
  bool recovered_ = false;            // what was restored has been routed, and everybody told
  SysTopics sys_;
  HouseKeeping house_keeping_;
  std::vector<CloseLater> close_later_;
  std::vector<ClientRef> deferred_;
  std::string properties_;
  uint64_t partial_bytes_ = 0;
  bool stopping_ = false;
  bool more_work_ = false;
};

Broker::Broker(Environment environment) : impl_(std::make_unique<Impl>(std::move(environment))) {}
Broker::~Broker() = default;

void Broker::set_peers(const std::vector<PeerId>& live) {
  impl_->peers().set_live(live);
}
bus::Link* Broker::link(PeerId peer) {
  return impl_->peers().link(peer);
}
bool Broker::peer_connected(PeerId peer, uint64_t peer_received) {
  return impl_->peers().connected(peer, peer_received);
}
void Broker::peer_disconnected(PeerId peer) {
  impl_->peers().disconnected(peer);
}
bool Broker::peer_bytes(PeerId peer, std::string_view bytes) {
  return impl_->peers().bytes(peer, bytes);
}
bool Broker::saturated() const {
  return impl_->saturated();
}
void Broker::peer_gone(PeerId peer) {
  impl_->peers().gone(peer);
}
void Broker::peer_progress(PeerId peer) {
  impl_->peers().progress(peer);
}
void Broker::load() {
  impl_->load();
}

connection::Client* Broker::open_client(connection::ClientTransport& transport) {
  return impl_->open_client(transport);
}
void Broker::advance() {
  impl_->advance();
}
void Broker::end_of_turn() {
  impl_->end_of_turn();
}
bool Broker::more_work() const {
  return impl_->more_work();
}
bool Broker::ready() const {
  return impl_->peers().ready();
}
void Broker::shut_down() {
  impl_->drain(std::numeric_limits<size_t>::max());
}
void Broker::drain(size_t max) {
  impl_->drain(max);
}
void Broker::bury() {
  if (Gateway* gateway = impl_->core().gateway) gateway->bury();
}
size_t Broker::client_count() const {
  return impl_->clients().size();
}

}  // namespace broker
