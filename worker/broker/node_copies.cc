#include "worker/broker/node_copies.h"

#include "worker/broker/peers.h"

namespace broker {

using bus::CopyState;
using bus::CopyStep;
using cluster::Status;

void NodeCopies::tell(Peer& worker, CopyState state) {
  if (worker.id.slot >= slots_.size()) return;
  Slot& slot = slots_[worker.id.slot];
  slot = {worker.id, 0, slot.round, 0, 0};
  bus::Writer(core_.scratch).put<uint8_t>(static_cast<uint8_t>(state));
  core_.peers->send(worker, bus::FrameType::copy_state, bus::kAckSoon, core_.scratch);
}

void NodeCopies::on_joined() {
  joined_ = true;
  hub_.keep_copies(core_.homes, [](Status) {});
  core_.peers->for_each([this](Peer& peer) { tell(peer, CopyState::there); });
}

void NodeCopies::on_down() {
  if (!joined_) return;
  joined_ = false;
  core_.peers->for_each([this](Peer& peer) { tell(peer, CopyState::away); });
}

void NodeCopies::on_peer_linked(Peer& worker) {
  if (joined_) tell(worker, CopyState::there);
}

void NodeCopies::on_peer_gone(const WorkerId& worker) {
  if (worker.slot < slots_.size() && slots_[worker.slot].worker == worker) slots_[worker.slot] = {};
}

bool NodeCopies::on_copy(const WorkerId& from, std::string_view body) {
  bus::Reader reader(body);
  const auto round = reader.get<uint64_t>();
  const auto step = static_cast<CopyStep>(reader.get<uint8_t>());
  const auto batch = store::Batch::from_bytes(reader.rest());
  if (!reader.at_end() || !batch || step > CopyStep::finish || from.slot >= slots_.size()) return false;
  Slot& slot = slots_[from.slot];
  if (!joined_ || slot.worker != from) return true;
  if (step == CopyStep::begin && round != slot.ended) slot = {from, round, slot.ended, 0, 0};
  if (round != slot.round) return true;  // it will hear why
  const auto done = [this, at = from.slot, round](Status status) { on_step(at, round, status); };
  if (step == CopyStep::begin) hub_.begin_copy(from.slot, round, done);
  if (step == CopyStep::batch) hub_.copy(from.slot, round, *batch, done);
  if (step == CopyStep::finish) hub_.finish_copy(from.slot, round, done);
  return true;
}

void NodeCopies::on_step(uint32_t at, uint64_t round, Status status) {
  Slot& slot = slots_[at];
  if (slot.round != round) return;
  if (status == Status::ok) {
    ++slot.done;
    return;
  }
  if (status == Status::lost || status == Status::fenced) return;  // the whole of this ends
  if (Peer* worker = core_.peers->find(slot.worker)) tell(*worker, CopyState::failed);
}

void NodeCopies::end_of_turn() {
  for (Slot& slot : slots_) {
    if (slot.done == slot.told) continue;
    slot.told = slot.done;
    Peer* worker = core_.peers->find(slot.worker);
    if (worker == nullptr) continue;
    bus::Writer(core_.scratch).put<uint64_t>(slot.round).put<uint64_t>(slot.done);
    core_.peers->send(*worker, bus::FrameType::copied, 0, core_.scratch);
  }
}

}  // namespace broker
