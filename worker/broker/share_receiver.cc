#include "worker/broker/share_receiver.h"

#include <memory>
#include <utility>

#include "shared/bus/frames.h"
#include "shared/bus/message_codec.h"
#include "worker/broker/gateway.h"
#include "worker/broker/peers.h"
#include "worker/broker/shared_dispatch.h"
#include "worker/broker/tickets.h"

namespace broker {

ShareReceiver::ShareReceiver(Core& core, Gateway& gateway, NodeShares& shares)
    : core_(core), gateway_(gateway), shares_(shares), strategy_(strategy_of(core.mqtt.shared_subscription_strategy)) {}

ShareReceiver::Identity ShareReceiver::identity_of(const Near& near) {
  return {near.message->once().incarnation, near.message->once().sequence, near.group};
}

bool ShareReceiver::on_publish(const RemoteNode& from, std::string_view body, NodeInbox* inbox) {
  bus::Reader reader(body);
  Near near;
  Asker asker;
  asker.node = from.key;
  asker.gateway = reader.get<uint64_t>();
  asker.token = reader.get<uint64_t>();
  bool repeat = reader.get<uint8_t>() != 0;
  near.group.second = reader.text();
  near.group.first = reader.text();
  near.message = bus::read_message(reader, base::BufferRef(), gateway_.expiry_shift());
  if (!near.message) return false;
  const bool qos0 = near.message->qos() == proto::QoS::at_most_once;
  if (!qos0 && inbox == nullptr) return false;
  if (qos0) {
    if (inbox != nullptr && gateway_.was_given(*near.message, inbox->current())) return true;
  } else {
    asker.inbox = inbox;
    asker.entry = inbox->hold();
    repeat = repeat || asker.entry <= gateway_.inbox_end();  // our predecessor may have read it
  }
  const uint64_t token = next_token_++;
  if (near.message->qos() == proto::QoS::exactly_once) {
    const auto [same, fresh] = once_.emplace(identity_of(near), token);
    if (!fresh) {
      under_way_.at(same->second).askers.push_back(std::move(asker));
      return true;
    }
    for (uint32_t slot = 0; repeat && slot < core_.homes; ++slot) near.unasked.insert(slot);
  }
  if (!qos0) near.askers.push_back(std::move(asker));
  const Near& placed = under_way_[token] = std::move(near);
  if (placed.unasked.empty()) {
    place(token);
    return true;
  }
  for (const uint32_t slot : placed.unasked) {  // who is away is asked when it has come
    if (Peer* worker = core_.peers->find(slot)) ask(token, placed, *worker);
  }
  return true;
}

void ShareReceiver::ask(uint64_t token, const Near& near, Peer& worker) {
  const bus::Uid& once = near.message->once();
  bus::Writer(core_.scratch)
      .put<uint64_t>(token)
      .put<uint64_t>(once.incarnation)
      .put<uint64_t>(once.sequence)
      .text(near.group.second)
      .text(near.group.first);
  core_.peers->send(worker, bus::FrameType::shared_known, bus::kAckSoon, core_.scratch);
}

void ShareReceiver::place(uint64_t token) {
  Near& near = under_way_.at(token);
  const bool qos0 = near.message->qos() == proto::QoS::at_most_once;
  router::SharedGroup* workers = shares_.workers_of(near.group);
  router::PeerSet refused = near.refused;
  bool dead = false;
  while (workers != nullptr) {
    const auto choice =
        workers->pick(strategy_, near.message->publisher(), refused, false, core_.self.slot, *core_.env.random, {});
    if (!choice) break;
    Peer* worker = core_.peers->find(choice->peer);
    if (worker != nullptr && (!qos0 || core_.peers->has_credit(*worker))) return send(token, near, *worker);
    dead = dead || worker == nullptr;
    refused.insert(choice->peer);
  }
  if (dead && !qos0) return;  // it waits for that worker's replacement
  if (qos0) core_.page.add(metrics::Counter::publish_dropped_bus);
  finish(token, SharedResult::refused, {});
}

void ShareReceiver::send(uint64_t token, Near& near, Peer& worker) {
  bus::Writer(core_.scratch).put<uint64_t>(token).text(near.group.second).text(near.group.first);
  bus::append_message_frame(worker.link, bus::FrameType::shared_publish, bus::kAckSoon, core_.scratch, *near.message);
  core_.peers->mark_dirty(worker);
  core_.page.add(metrics::Counter::bus_messages_sent);
  if (router::SharedGroup* workers = shares_.workers_of(near.group)) workers->add_remote_inflight(worker.id.slot, 1);
  near.with = worker.id;
  near.sent = true;
  near.pinned = false;
}

bool ShareReceiver::on_result(const WorkerId& from, std::string_view body) {
  bus::Reader reader(body);
  const auto token = reader.get<uint64_t>();
  const auto result = static_cast<SharedResult>(reader.get<uint8_t>());
  if (!reader.at_end()) return false;
  const auto it = under_way_.find(token);
  if (it == under_way_.end()) return true;
  Near& near = it->second;
  if (near.unasked.contains(from.slot)) {
    if (result != SharedResult::refused) {
      finish(token, result, from);
      return true;
    }
    near.unasked.erase(from.slot);
    if (near.unasked.empty()) place(token);
    return true;
  }
  if (!near.sent || near.with != from) return true;
  near.sent = false;
  if (router::SharedGroup* workers = shares_.workers_of(near.group)) workers->add_remote_inflight(from.slot, -1);
  if (result == SharedResult::refused) {
    near.refused.insert(from.slot);
    place(token);
  } else {
    finish(token, result, from);
  }
  return true;
}

void ShareReceiver::on_worker_gone(const WorkerId& worker) {
  std::vector<uint64_t> lost;
  for (const auto& [token, near] : under_way_) {
    if (near.sent && near.with == worker) lost.push_back(token);
  }
  for (const uint64_t token : lost) {
    Near& near = under_way_.at(token);
    near.sent = false;
    if (near.message->qos() == proto::QoS::exactly_once) {
      near.pinned = true;
    } else if (near.message->qos() == proto::QoS::at_least_once) {
      place(token);
    } else {
      under_way_.erase(token);
    }
  }
}

void ShareReceiver::on_worker_synced(Peer& worker) {
  std::vector<uint64_t> due;
  for (const auto& [token, near] : under_way_) {
    if (near.unasked.contains(worker.id.slot)) ask(token, near, worker);
    if (near.unasked.empty() && !near.sent && (!near.pinned || near.with.slot == worker.id.slot)) due.push_back(token);
  }
  for (const uint64_t token : due) {
    Near& near = under_way_.at(token);
    if (near.pinned) {
      send(token, near, worker);
    } else {
      place(token);
    }
  }
}

void ShareReceiver::finish(uint64_t token, SharedResult result, const WorkerId& worker) {
  const Near near = std::move(under_way_.extract(token).mapped());
  if (near.message->qos() == proto::QoS::exactly_once) once_.erase(identity_of(near));
  for (const Asker& asker : near.askers) {
    core_.tickets->begin([this, inbox = asker.inbox, entry = asker.entry, near, worker, result] {
      if (result == SharedResult::reserved) go(worker, near);
      inbox->release(entry);
    });
    if (RemoteNode* node = gateway_.find(asker.node)) {
      std::string body;
      bus::Writer(body)
          .put<uint64_t>(asker.gateway)
          .put<uint64_t>(asker.token)
          .put<uint8_t>(result != SharedResult::refused);
      node->stream.append(NodeFrame::shared_result, body);
      node->stream.wait(core_.tickets->wait());
    }
    core_.tickets->end();
  }
}

void ShareReceiver::go(const WorkerId& worker, const Near& near) {
  Peer* peer = core_.peers->find(worker);
  if (peer == nullptr) return;
  const bus::Uid& once = near.message->once();
  bus::Writer(core_.scratch)
      .put<uint64_t>(once.incarnation)
      .put<uint64_t>(once.sequence)
      .text(near.group.second)
      .text(near.group.first);
  core_.peers->send(*peer, bus::FrameType::shared_go, bus::kAckSoon, core_.scratch);
}

}  // namespace broker
