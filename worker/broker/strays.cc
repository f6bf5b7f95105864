#include "worker/broker/strays.h"

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "shared/bus/frames.h"
#include "shared/bus/message_codec.h"
#include "worker/broker/gateway.h"
#include "worker/broker/host_life.h"
#include "worker/broker/peers.h"
#include "worker/broker/records.h"
#include "worker/broker/sessions.h"

namespace broker {
namespace {

// text client id, u8 qos, u8 retain, message.
void put_stray(std::string& body, std::string_view id, const session::Delivery& delivery, int64_t expiry_shift) {
  bus::Writer(body).text(id).put<uint8_t>(static_cast<uint8_t>(delivery.qos)).put<uint8_t>(delivery.retain ? 1 : 0);
  bus::append_message(body, *delivery.message, expiry_shift);
}

bool get_stray(std::string_view body, std::string_view& id, session::Delivery& delivery, int64_t expiry_shift) {
  bus::Reader reader(body);
  id = reader.text();
  const auto qos = reader.get<uint8_t>();
  const auto retain = reader.get<uint8_t>();
  if (!reader.ok() || qos > 2 || retain > 1) return false;
  delivery.qos = static_cast<proto::QoS>(qos);
  delivery.retain = retain == 1;
  delivery.message = bus::read_message(reader, base::BufferRef(), expiry_shift);
  return static_cast<bool>(delivery.message);
}

// The first of them is stored with this.
void note_uncopied(Core& core, session::Session& session) {
  session.uncopied_us = core.env.clock->wall_us();
  core.records->write_head(session);
}

}  // namespace

// --- at a worker ---

void Strays::on_copies_ended(const std::unordered_map<uint64_t, uint64_t>& not_copied) {
  core_.sessions->for_each([&](session::Session& session) {
    const auto it = not_copied.find(session.sid);
    session.copied_to = it == not_copied.end() ? session.next_position : it->second;
    session.uncopied_us = 0;
    if (it != not_copied.end()) note_uncopied(core_, session);
  });
}

void Strays::on_copies_whole() {
  core_.sessions->for_each([](session::Session& session) { session.copied_to = session.uncopied_us = 0; });
}

void Strays::on_placed(session::Session& session, const session::Delivery& delivery) {
  if (session.copied_to != 0 && session.uncopied_us == 0) note_uncopied(core_, session);
  if (delivery.qos != proto::QoS::exactly_once || !delivery.message) return;
  if (given_.size() < kGivenKept) given_.resize(kGivenKept);
  given_[next_given_++ % kGivenKept] = {delivery.message->once(), std::hash<std::string>()(session.client_id())};
}

bool Strays::was_given(const session::Session& session, const bus::Uid& once) const {
  return std::ranges::find(given_, Given{once, std::hash<std::string>()(session.client_id())}) != given_.end();
}

void Strays::restore(session::Session& session, uint64_t since_us, uint64_t from) {
  const bool uncopied = since_us > core_.life->copied_us();
  session.copied_to = uncopied ? from : session.next_position;
  session.uncopied_us = uncopied ? since_us : 0;
}

void Strays::send_after(session::Session& session) {
  Peer* gateway = core_.peers->find(core_.gateway_slot());
  if (session.copied_to == 0 || gateway == nullptr) return;
  std::string body;
  const auto send = [&](const session::Delivery& delivery) {
    if (delivery.qos == proto::QoS::at_most_once || !delivery.message || delivery.position < session.copied_to) return;
    put_stray(body, session.client_id(), delivery, 0);
    core_.peers->send(*gateway, bus::FrameType::stray, bus::kAckSoon, body);
  };
  session.inflight().for_each([&](const session::Inflight::Entry& entry) {
    if (entry.state == session::Inflight::State::publish) send(entry.delivery);
  });
  for (size_t i = 0; i < session.queue().size(); ++i) send(session.queue()[i]);
}

bool Strays::on_stray(std::string_view body) {
  std::string_view id;
  session::Delivery delivery;
  if (!get_stray(body, id, delivery, 0)) return false;
  session::Session* session = core_.sessions->find(id);
  if (session == nullptr || session->arriving || !session->durable()) return true;
  const bus::Uid once = delivery.message->once();
  const auto same = [&](const session::Delivery& other) { return other.message && other.message->once() == once; };
  bool there = false;
  session->inflight().for_each([&](const session::Inflight::Entry& entry) { there = there || same(entry.delivery); });
  for (size_t i = 0; i < session->queue().size(); ++i) there = there || same(session->queue()[i]);
  if (there || was_given(*session, once)) return true;
  session->keep(std::move(delivery));
  session->pump();
  return true;
}

// --- at a gateway ---

bool NodeStrays::on_worker_stray(std::string_view body) {
  std::string_view id;
  session::Delivery delivery;
  if (!get_stray(body, id, delivery, 0)) return false;
  ask(std::string(body));
  return true;
}

void NodeStrays::ask(std::string body) {
  if (!core_.gateway->joined()) {
    waiting_.push_back(std::move(body));
    return;
  }
  const std::string id(bus::Reader(body).text());
  core_.env.hub->holder(id, [this, body = std::move(body)](cluster::Status status, const std::string& holder) {
    if (status == cluster::Status::lost) {
      waiting_.push_back(body);
      return;
    }
    if (status != cluster::Status::ok || holder.empty()) return;
    if (holder == core_.gateway->key()) return tell_workers(body);
    std::string_view of;
    session::Delivery delivery;
    std::string frame;
    get_stray(body, of, delivery, 0);
    put_stray(frame, of, delivery, core_.gateway->expiry_shift());
    core_.gateway->append_behind(core_.gateway->node(holder), NodeFrame::stray, frame);
  });
}

void NodeStrays::tell_workers(std::string_view body) {
  core_.peers->for_each([&](Peer& worker) { core_.peers->send(worker, bus::FrameType::stray, bus::kAckSoon, body); });
}

void NodeStrays::on_joined() {
  for (std::string& body : std::exchange(waiting_, {})) ask(std::move(body));
}

bool NodeStrays::on_node_stray(std::string_view body) {
  std::string_view id;
  session::Delivery delivery;
  if (!get_stray(body, id, delivery, core_.gateway->expiry_shift())) return false;
  std::string frame;
  put_stray(frame, id, delivery, 0);
  tell_workers(frame);
  return true;
}

}  // namespace broker
