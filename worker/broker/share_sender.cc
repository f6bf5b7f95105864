#include "worker/broker/share_sender.h"

#include <utility>

#include "shared/bus/frames.h"
#include "shared/bus/message_codec.h"
#include "worker/broker/gateway.h"
#include "worker/broker/peers.h"
#include "worker/broker/shared_dispatch.h"

namespace broker {

ShareSender::ShareSender(Core& core, Gateway& gateway, NodeShares& shares)
    : core_(core), gateway_(gateway), shares_(shares), strategy_(strategy_of(core.mqtt.shared_subscription_strategy)) {}

// --- workers ---

bool ShareSender::on_where(const WorkerId& from, std::string_view body) {
  bus::Reader reader(body);
  Far far;
  far.from = from;
  far.token = reader.get<uint64_t>();
  far.group.second = reader.text();
  far.group.first = reader.text();
  far.publisher = reader.text();
  if (!reader.at_end()) return false;
  place(std::move(far));
  return true;
}

bool ShareSender::on_publish(const WorkerId& from, std::string_view body, const base::BufferRef& attachment,
                             bool named) {
  bus::Reader reader(body);
  Far far;
  far.from = from;
  far.token = reader.get<uint64_t>();
  if (named) far.repeat = reader.get<uint8_t>() != 0;
  if (named) far.node = reader.text();
  far.group.second = reader.text();
  far.group.first = reader.text();
  far.message = bus::read_message(reader, attachment);
  if (!far.message || named != (far.qos() == proto::QoS::exactly_once) || named != !far.node.empty()) return false;
  far.publisher = far.message->publisher();
  place(std::move(far));
  return true;
}

// What it asked for and has not been sent, its replacement asks for again; what has been sent takes its course.
void ShareSender::on_worker_gone(const WorkerId& worker) {
  std::erase_if(waiting_, [&](const Far& far) { return far.from == worker; });
}

void ShareSender::answer(const Far& far, bool accepted, std::string_view node) {
  Peer* peer = core_.peers->find(far.from);
  if (peer == nullptr) return;
  bus::Writer body(core_.scratch);
  body.put<uint64_t>(far.token);
  if (far.message) {
    body.put<uint8_t>(static_cast<uint8_t>(accepted ? SharedResult::accepted : SharedResult::refused));
    core_.peers->send(*peer, bus::FrameType::shared_result, bus::kAckSoon, core_.scratch);
  } else {
    body.text(node);
    core_.peers->send(*peer, bus::FrameType::shared_there, bus::kAckSoon, core_.scratch);
  }
}

// --- choosing ---

// Live members of other hosts, then live ones here, then anybody. A node that cannot be reached gets nothing new.
ShareSender::Verdict ShareSender::choose(const Far& far, RemoteNode*& node) {
  router::SharedGroup* nodes = shares_.nodes_of(far.group);
  const router::SharedGroup* workers = shares_.workers_of(far.group);
  const bool here = workers != nullptr && !workers->empty();
  const Verdict otherwise = here ? Verdict::refuse : Verdict::wait;
  if (nodes == nullptr) return gateway_.told() == Told::all ? Verdict::refuse : otherwise;
  router::PeerSet refused = far.refused;
  for (const router::SharedGroup::Remote& remote : nodes->remotes()) {
    RemoteNode* candidate = gateway_.by_id(remote.peer);
    if (candidate == nullptr || !gateway_.joined() || !gateway_.is_live(*candidate)) refused.insert(remote.peer);
  }
  const bool live = nodes->live_but(refused);
  if (!live && here && workers->live_anywhere()) return Verdict::refuse;
  if (!live && nodes->live_anywhere()) return otherwise;  // it refused: what it says of itself is on its way
  const auto choice = nodes->pick(strategy_, far.publisher, refused, false, 0, *core_.env.random, {});
  if (!choice) return otherwise;
  node = gateway_.by_id(choice->peer);
  return Verdict::found;
}

ShareSender::Verdict ShareSender::choose_named(const Far& far, RemoteNode*& node) const {
  if (!gateway_.joined()) return Verdict::wait;
  node = gateway_.find(far.node);
  if (node == nullptr || (!far.repeat && !gateway_.is_live(*node))) return Verdict::refuse;
  return Verdict::found;
}

void ShareSender::place(Far far) {
  RemoteNode* node = nullptr;
  const Verdict verdict = far.node.empty() ? choose(far, node) : choose_named(far, node);
  if (verdict == Verdict::found) {
    send(*node, next_token_++, std::move(far));
  } else if (verdict == Verdict::wait && far.qos() != proto::QoS::at_most_once) {
    far.refused = {};
    waiting_.push_back(std::move(far));
  } else {
    const bool given_up = !far.node.empty() && far.repeat;  // that node, which is gone, may have given it to a member
    answer(far, given_up);
  }
}

void ShareSender::send(RemoteNode& node, uint64_t token, Far far) {
  if (!far.message) return answer(far, true, node.key);
  std::string head;
  bus::Writer(head)
      .put<uint64_t>(core_.self.incarnation)
      .put<uint64_t>(token)
      .put<uint8_t>(far.repeat)
      .text(far.group.second)
      .text(far.group.first);
  if (far.qos() == proto::QoS::at_most_once) {
    gateway_.send_datagram(node, NodeFrame::shared_publish, head, *far.message);
    return answer(far, true);
  }
  node.stream.append(NodeFrame::shared_publish, head, *far.message, gateway_.expiry_shift());
  if (router::SharedGroup* nodes = shares_.nodes_of(far.group)) nodes->add_remote_inflight(node.interest.id, 1);
  far.at = node.key;
  sent_[token] = std::move(far);
}

// --- nodes ---

bool ShareSender::on_result(const RemoteNode& from, std::string_view body) {
  bus::Reader reader(body);
  const auto gateway = reader.get<uint64_t>();
  const auto token = reader.get<uint64_t>();
  const bool accepted = reader.get<uint8_t>() != 0;
  if (!reader.at_end()) return false;
  const auto it = gateway == core_.self.incarnation ? sent_.find(token) : sent_.end();
  if (it == sent_.end() || it->second.at != from.key) return true;
  Far far = std::move(it->second);
  sent_.erase(it);
  if (router::SharedGroup* nodes = shares_.nodes_of(far.group)) nodes->add_remote_inflight(from.interest.id, -1);
  if (accepted || !far.node.empty()) {
    answer(far, accepted);
  } else {
    far.refused.insert(from.interest.id);
    place(std::move(far));
  }
  return true;
}

void ShareSender::on_forgotten(const std::string& node) {
  for (auto it = sent_.begin(); it != sent_.end();) {
    if (it->second.at != node) {
      ++it;
      continue;
    }
    Far far = std::move(it->second);
    it = sent_.erase(it);
    far.repeat = true;
    place(std::move(far));
  }
}

void ShareSender::on_redis_lost() {
  for (auto& [token, far] : std::exchange(sent_, {})) {
    far.repeat = true;
    place(std::move(far));
  }
}

void ShareSender::retry() {
  for (Far& far : std::exchange(waiting_, {})) place(std::move(far));
  if (!gateway_.joined() || !gateway_.any_lost()) return;
  std::vector<uint64_t> stranded;
  for (const auto& [token, far] : sent_) {
    if (far.qos() != proto::QoS::at_least_once) continue;
    const RemoteNode* node = gateway_.find(far.at);
    if (node == nullptr || Gateway::is_lost(*node)) stranded.push_back(token);
  }
  for (const uint64_t token : stranded) {
    Far far = std::move(sent_.extract(token).mapped());
    place(std::move(far));
  }
}

}  // namespace broker
