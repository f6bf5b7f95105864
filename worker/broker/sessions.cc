#include "worker/broker/sessions.h"

#include <algorithm>

#include "worker/broker/accepted.h"
#include "worker/broker/claims.h"
#include "worker/broker/host_life.h"
#include "worker/broker/interest.h"
#include "worker/broker/publisher.h"
#include "worker/broker/records.h"
#include "worker/broker/retained_service.h"
#include "worker/broker/shared_dispatch.h"
#include "worker/broker/takeovers.h"
#include "worker/session/takeover_state.h"

namespace broker {
namespace {
constexpr uint32_t kNever = 0xFFFFFFFF;
}

Sessions::~Sessions() = default;

session::Session* Sessions::find(std::string_view client_id) {
  const auto it = by_client_id_.find(client_id);
  return it == by_client_id_.end() ? nullptr : it->second;
}

session::Session& Sessions::create(std::string client_id) {
  if (free_.empty()) {
    free_.push_back(static_cast<router::SubscriberId>(table_.size()));
    table_.emplace_back();
  }
  const router::SubscriberId id = free_.back();
  free_.pop_back();
  table_[id] = std::make_unique<session::Session>(core_.session_shared, std::move(client_id), id);
  session::Session& session = *table_[id];
  by_client_id_[session.client_id()] = &session;
  core_.page.add(metrics::Gauge::sessions, 1);
  return session;
}

void Sessions::end(session::Session& session) {
  core_.retained->cancel(session);
  core_.interest->remove_all(session);  // what it had of groups is given on, and stored until it is safe there
  core_.records->erase_all(session);
  core_.claims->release(session);
  destroy(session);
}

void Sessions::forget(session::Session& session) {
  if (session.outlet() != nullptr) {
    session.outlet()->on_taken_over();
    session.detach();
  }
  core_.retained->cancel(session);
  core_.records->erase_all(session);
  session.clear_messages();
  core_.interest->remove_all(session);
  destroy(session);
}

void Sessions::destroy(session::Session& session) {
  core_.takeovers->on_session_ending(session);
  core_.shared->on_member_gone(session);
  by_client_id_.erase(session.client_id());
  core_.page.add(metrics::Gauge::sessions, -1);
  const router::SubscriberId id = session.id();
  table_[id].reset();
  free_.push_back(id);
}

void Sessions::on_disconnected(session::Session& session, bool with_will) {
  session.detach();
  core_.retained->cancel(session);
  core_.shared->on_member_offline(session);
  if (!with_will) session.will.reset();
  if (!session.durable()) {
    fire_will(session);
    end(session);
    return;
  }
  if (session.will && session.will->delay == 0) fire_will(session);
  session.disconnected_at = core_.env.clock->wall_us() / 1000;
  core_.records->write_head(session);
  go_offline(session);
}

void Sessions::go_offline(session::Session& session) {
  if (session.disconnected_at == 0) session.disconnected_at = core_.env.clock->wall_us() / 1000;
  arm(session, 0);
}

// `offline_ms` of its time without a connection are over.
void Sessions::arm(session::Session& session, uint64_t offline_ms) {
  const auto left = [offline_ms](uint32_t seconds) {
    const uint64_t all = uint64_t{seconds} * 1000;
    return all > offline_ms ? all - offline_ms : 0;
  };
  if (session.expiry_interval != kNever) {
    core_.wheel.arm(timers(session).expiry, core_.now() + left(session.expiry_interval));
  }
  if (session.will) core_.wheel.arm(timers(session).will, core_.now() + left(session.will->delay));
}

// Its connection, if it had one, died with the worker, and so uncleanly.
void Sessions::on_restored(session::Session& session, uint64_t wall_ms, uint64_t alive_ms) {
  const bool was_connected = session.disconnected_at == 0;
  // It may have lived a little longer than it had noted (by one and a half times kAliveEveryMs, see write_alive(), and
  // more if it was busy): nothing is to expire, and no will to fire, too early.
  if (was_connected) session.disconnected_at = std::min(alive_ms + 2 * Records::kAliveEveryMs, wall_ms);
  // A clock that was set back makes no time; what passes from here on counts.
  const bool set_back = session.disconnected_at > wall_ms;
  if (set_back) session.disconnected_at = wall_ms;
  const uint64_t offline = wall_ms - session.disconnected_at;
  const bool over = session.expiry_interval != kNever && offline >= uint64_t{session.expiry_interval} * 1000;
  if (over) {
    if (session.durable()) core_.page.add(metrics::Counter::sessions_expired);
    fire_will(session);
    end(session);
    return;
  }
  if (was_connected) {
    if (session.will && session.will->delay == 0) fire_will(session);
  }
  if (was_connected || set_back) core_.records->write_head(session);
  arm(session, offline);
}

void Sessions::settle_before_takeover(session::Session& session, bool discard) {
  if (session.outlet() != nullptr) {
    session.outlet()->on_taken_over();
    session.detach();
    core_.retained->cancel(session);
  }
  const bool had_will = session.will != nullptr;
  if (session.will && (discard || session.will->delay == 0)) fire_will(session);
  session.will.reset();
  session.timers.reset();
  if (had_will && !discard) core_.records->write_head(session);
}

// A QoS 0 will is accepted like the others: it fires once, whoever dies.
void Sessions::fire_will(session::Session& session) {
  if (!session.will) return;
  const std::unique_ptr<session::Will> will = std::move(session.will);
  bus::Message::Fields fields;
  fields.qos = will->qos;
  fields.retain = will->retain;
  fields.topic = will->topic;
  fields.publisher = session.client_id();
  fields.properties = will->properties;
  fields.payload = will->payload;
  if (will->message_expiry) fields.expires_at = core_.now() + uint64_t{*will->message_expiry} * 1000;
  // It may have fired where the session went on.
  if (session.epoch <= core_.life->unsure_until() || core_.life->waits(session)) {
    return core_.accepted->keep_unsure(fields, session.epoch);
  }
  core_.accepted->accept(fields, {}, nullptr);
  core_.page.add(metrics::Counter::wills_published);
}

session::Session::Timers& Sessions::timers(session::Session& session) {
  if (!session.timers) {
    session.timers.reset(
        new session::Session::Timers{{&Sessions::on_expiry, session, this}, {&Sessions::on_will_delay, session, this}});
  }
  return *session.timers;
}

void Sessions::on_expiry(base::TimerNode& node) {
  auto& timer = static_cast<session::Session::Timer&>(node);
  auto& self = *static_cast<Sessions*>(timer.owner);
  session::Session& session = timer.session;
  self.core_.page.add(metrics::Counter::sessions_expired);
  self.fire_will(session);  // [MQTT-3.1.2-8]: the session's end comes before the delay's
  self.end(session);
}

void Sessions::on_will_delay(base::TimerNode& node) {
  auto& timer = static_cast<session::Session::Timer&>(node);
  auto& self = *static_cast<Sessions*>(timer.owner);
  self.fire_will(timer.session);
  self.core_.records->write_head(timer.session);
}

}  // namespace broker
