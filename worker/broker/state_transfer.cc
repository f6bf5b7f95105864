#include "worker/broker/state_transfer.h"

#include <algorithm>

#include "shared/bus/message_codec.h"
#include "worker/broker/delivery_codec.h"
#include "worker/broker/interest.h"
#include "worker/broker/journal.h"
#include "worker/broker/missed.h"

namespace broker {
namespace {

enum class Kind : uint8_t { inflight, released, queued };

void put_options(bus::Writer& writer, const router::SubscriptionOptions& o) {
  writer.put<uint8_t>(static_cast<uint8_t>(o.qos))
      .put<uint8_t>(o.no_local)
      .put<uint8_t>(o.retain_as_published)
      .put<uint8_t>(static_cast<uint8_t>(o.retain_handling))
      .put<uint32_t>(o.identifier);
}

bool get_options(bus::Reader& reader, router::SubscriptionOptions& o) {
  const auto qos = reader.get<uint8_t>();
  o.no_local = reader.get<uint8_t>() != 0;
  o.retain_as_published = reader.get<uint8_t>() != 0;
  const auto handling = reader.get<uint8_t>();
  o.identifier = reader.get<uint32_t>();
  if (!reader.ok() || qos > 2 || handling > 2) return false;
  o.qos = static_cast<proto::QoS>(qos);
  o.retain_handling = static_cast<proto::RetainHandling>(handling);
  return true;
}

void send_delivery(Core& core, Peer& to, uint64_t claim, Kind kind, uint16_t packet_id, const session::Delivery& d) {
  bus::Writer writer(core.scratch);
  writer.put<uint64_t>(claim).put<uint8_t>(static_cast<uint8_t>(kind)).put<uint16_t>(packet_id);
  put_delivery(writer, d);
  if (d.message) {
    bus::append_message_frame(to.link, bus::FrameType::state_delivery, 0, core.scratch, *d.message);
  } else {
    core.peers->send(to, bus::FrameType::state_delivery, 0, core.scratch);
  }
}

}  // namespace

bool pass_delivery_on(NodeStream& to, uint64_t token, std::string_view rest, const base::BufferRef& attachment,
                      int64_t expiry_shift) {
  bus::Reader reader(rest);
  const auto kind = reader.get<uint8_t>();
  const auto packet_id = reader.get<uint16_t>();
  session::Delivery delivery;
  const bool has_message = static_cast<Kind>(kind) != Kind::released;
  if (has_message ? !get_delivery(reader, attachment, delivery) : !get_delivery_head(reader, delivery)) return false;
  std::string body;
  bus::Writer writer(body);
  writer.put<uint64_t>(token).put<uint8_t>(kind).put<uint16_t>(packet_id);
  put_delivery(writer, delivery);
  if (has_message) {
    to.append(NodeFrame::state_delivery, body, *delivery.message, expiry_shift);
  } else {
    to.append(NodeFrame::state_delivery, body);
  }
  return true;
}

bool pass_delivery_to(Core& core, Peer& to, uint64_t claim, std::string_view rest, int64_t expiry_shift) {
  bus::Reader reader(rest);
  const auto kind = reader.get<uint8_t>();
  const auto packet_id = reader.get<uint16_t>();
  session::Delivery delivery;
  if (!get_delivery_head(reader, delivery) || kind > static_cast<uint8_t>(Kind::queued)) return false;
  if (static_cast<Kind>(kind) != Kind::released) {
    delivery.message = bus::read_message(reader, base::BufferRef(), expiry_shift);
    if (!delivery.message) return false;
  }
  send_delivery(core, to, claim, static_cast<Kind>(kind), packet_id, delivery);
  return true;
}

void send_head(Core& core, Peer& to, uint64_t claim, const session::Session& session) {
  bus::Writer writer(core.scratch);
  writer.put<uint64_t>(claim).put<uint8_t>(1).put<uint32_t>(session.expiry_interval);
  writer.put<uint32_t>(static_cast<uint32_t>(session.subscriptions.all().size()));
  for (const session::OwnSubscription& own : session.subscriptions.all()) {
    put_options(writer, own.options);
    writer.text(core.tree.filter_of(own.node));
  }
  writer.put<uint32_t>(static_cast<uint32_t>(session.subscriptions.shares().size()));
  for (const session::OwnShare& share : session.subscriptions.shares()) {
    put_options(writer, share.options);
    writer.text(share.group).text(share.filter);
  }
  core.peers->send(to, bus::FrameType::state_begin, bus::kAckSoon, core.scratch);
}

void send_state(Core& core, Peer& to, uint64_t claim, session::Session& session) {
  session.inflight().for_each([&](session::Inflight::Entry& entry) {
    const bool released = entry.state == session::Inflight::State::pubrel;
    send_delivery(core, to, claim, released ? Kind::released : Kind::inflight, entry.packet_id, entry.delivery);
  });
  for (size_t i = 0; i < session.queue().size(); ++i) {
    send_delivery(core, to, claim, Kind::queued, 0, session.queue()[i]);
  }
  bus::Writer writer(core.scratch);
  writer.put<uint64_t>(claim).put<uint16_t>(session.inflight().next_id());
  writer.put<uint32_t>(static_cast<uint32_t>(session.incoming_qos2.size()));
  for (const uint16_t id : session.incoming_qos2) writer.put<uint16_t>(id);
  Marks known = core.seen;
  known[core.self.incarnation] = core.sequence;
  // Also what is still on its way to us, and in the session already.
  auto seen = std::make_unique<Marks>(session.came_with ? *session.came_with : Marks());
  add_known(seen, known, session, false);
  writer.put<uint32_t>(static_cast<uint32_t>(seen->size()));
  for (const auto& [origin, sequence] : *seen) writer.put<uint64_t>(origin).put<uint64_t>(sequence);
  auto once = std::make_unique<Marks>(session.skip_once ? *session.skip_once : Marks());
  add_known(once, core.journal->accepted_seen(), session, true);
  writer.put<uint32_t>(static_cast<uint32_t>(once->size()));
  for (const auto& [origin, sequence] : *once) writer.put<uint64_t>(origin).put<uint64_t>(sequence);
  core.peers->send(to, bus::FrameType::state_end, bus::kAckSoon, core.scratch);
}

bool read_session_head(bus::Reader& reader, Core& core, session::Session& session) {
  session.expiry_interval = reader.get<uint32_t>();
  for (auto n = reader.get<uint32_t>(); n > 0 && reader.ok(); --n) {
    router::SubscriptionOptions options;
    if (!get_options(reader, options)) return false;
    const std::string_view filter = reader.text();
    if (!reader.ok() || filter.empty()) return false;
    core.interest->subscribe(session, filter, options);
  }
  for (auto n = reader.get<uint32_t>(); n > 0 && reader.ok(); --n) {
    router::SubscriptionOptions options;
    if (!get_options(reader, options)) return false;
    const std::string_view group = reader.text();
    const std::string_view filter = reader.text();
    if (!reader.ok() || filter.empty() || group.empty()) return false;
    core.interest->subscribe_shared(session, group, filter, options);
  }
  return reader.at_end();
}

bool read_session_end(bus::Reader& reader, session::Session& session, std::map<uint64_t, uint64_t>& seen) {
  const auto next_id = reader.get<uint16_t>();
  for (auto n = reader.get<uint32_t>(); n > 0 && reader.ok(); --n) session.add_incoming(reader.get<uint16_t>());
  for (auto n = reader.get<uint32_t>(); n > 0 && reader.ok(); --n) {
    const auto origin = reader.get<uint64_t>();
    seen[origin] = reader.get<uint64_t>();
  }
  for (auto n = reader.get<uint32_t>(); n > 0 && reader.ok(); --n) {
    const auto origin = reader.get<uint64_t>();
    if (!session.skip_once) session.skip_once = std::make_unique<std::map<uint64_t, uint64_t>>();
    (*session.skip_once)[origin] = reader.get<uint64_t>();
  }
  if (!reader.at_end() || next_id == 0) return false;
  session.inflight().set_next_id(next_id);
  return true;
}

bool read_session_delivery(bus::Reader& reader, const base::BufferRef& attachment, Core& core,
                           session::Session& session) {
  const auto kind = reader.get<uint8_t>();
  const auto packet_id = reader.get<uint16_t>();
  if (!reader.ok() || kind > static_cast<uint8_t>(Kind::queued)) return false;
  session::Delivery delivery;
  if (static_cast<Kind>(kind) == Kind::released) {
    if (!get_delivery_head(reader, delivery) || !reader.at_end()) return false;
  } else if (!get_delivery(reader, attachment, delivery)) {
    return false;
  }
  if (static_cast<Kind>(kind) == Kind::queued) {
    session.restore(std::move(delivery));
    return true;
  }
  if (packet_id == 0) return false;
  session::Inflight::Entry entry;
  entry.packet_id = packet_id;
  entry.tried = true;
  entry.state =
      static_cast<Kind>(kind) == Kind::released ? session::Inflight::State::pubrel : session::Inflight::State::publish;
  entry.delivery = std::move(delivery);
  session.inflight().restore(std::move(entry));
  core.page.add(metrics::Gauge::inflight_messages, 1);
  return true;
}

}  // namespace broker
