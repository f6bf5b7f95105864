#include "worker/broker/copier.h"

#include <algorithm>
#include <utility>

#include "shared/store/record.h"
#include "worker/broker/accepted.h"
#include "worker/broker/far_interest.h"
#include "worker/broker/host_life.h"
#include "worker/broker/journal.h"
#include "worker/broker/outbox.h"
#include "worker/broker/peers.h"
#include "worker/broker/strays.h"

namespace broker {

using bus::CopyState;
using bus::CopyStep;

namespace {
void note_first(uint64_t& first, store::Kind kind, std::string_view key) {
  if (key[0] != static_cast<char>(kind)) return;
  const auto parts = store::parse_key(key);
  if (parts && (first == 0 || parts->number < first)) first = parts->number;
}
}  // namespace

bool Copier::is_copied(std::string_view text) {
  const auto key = store::parse_key(text);
  if (!key || key->kind == store::Kind::retained) return false;
  return key->kind != store::Kind::meta || !FarInterest::is(key->text);
}

void Copier::begin() {
  last_round_ = std::max(last_round_ + 1, core_.env.clock->wall_us());
  round_ = last_round_;
  since_ = core_.journal->batch();
  copied_ = since_ - 1;
  after_.clear();
  read_ = false;
  steps_ = 0;
  send(CopyStep::begin, {}, {});
}

CopiedTo Copier::copied_to() const {
  CopiedTo to{core_.accepted->next_number(), core_.outbox->next_number()};
  for (const Sent& sent : sent_) {
    if (sent.first.accepted != 0) to.accepted = std::min(to.accepted, sent.first.accepted);
    if (sent.first.outbox != 0) to.outbox = std::min(to.outbox, sent.first.outbox);
  }
  return to;
}

void Copier::end() {
  const CopiedTo copied = copied_to();
  if (whole_) {
    std::unordered_map<uint64_t, uint64_t> not_copied;
    for (const Sent& sent : sent_) {
      for (const auto& [sid, position] : sent.queued) not_copied.emplace(sid, position);
    }
    core_.strays->on_copies_ended(not_copied);
  }
  round_ = 0;
  whole_ = read_ = false;
  sent_.clear();
  under_way_ = 0;
  keys_.clear();
  fresh_.clear();
  core_.page.set(metrics::Gauge::cluster_copy_whole, 0);
  core_.life->on_copy_ended(copied);
  core_.journal->run_completed();
}

void Copier::send(CopyStep step, const store::Batch& batch, Sent sent) {
  Peer* gateway = core_.peers->find(core_.gateway_slot());
  if (gateway == nullptr) return;
  ++steps_;
  sent.us = core_.env.clock->wall_us();
  under_way_ += sent.bytes;
  sent_.push_back(std::move(sent));
  bus::Writer(core_.scratch).put<uint64_t>(round_).put<uint8_t>(static_cast<uint8_t>(step)).bytes(batch.view());
  core_.peers->send(*gateway, bus::FrameType::copy, 0, core_.scratch);
}

void Copier::add(const store::Batch& batch, uint64_t number) {
  if (round_ == 0) return;
  store::Batch copied;
  Sent sent{number, 0, {}, {}, 0};
  batch.for_each([&](bool erase, std::string_view key, std::string_view value) {
    if (!is_copied(key)) return;
    if (erase) {
      copied.erase(key);
    } else {
      copied.put(key, value);
      if (whole_ && key[0] == static_cast<char>(store::Kind::delivery)) {
        if (const auto parts = store::parse_key(key)) sent.queued.emplace_back(parts->sid, parts->number);
      }
      note_first(sent.first.accepted, store::Kind::accepted, key);
      note_first(sent.first.outbox, store::Kind::outbox, key);
    }
    if (read_) return;
    keys_[number].emplace_back(key);
    ++fresh_[std::string(key)];
  });
  if (!copied.empty()) {
    send(CopyStep::batch, copied, std::move(sent));
  } else if (sent_.empty()) {
    copied_ = number;
  } else {
    sent_.back().number = number;
  }
}

void Copier::on_stored(uint64_t number) {
  stored_ = number;
  const auto it = keys_.find(number);
  if (it == keys_.end()) return;
  for (const std::string& key : it->second) {
    const auto fresh = fresh_.find(key);
    if (--fresh->second == 0) fresh_.erase(fresh);
  }
  keys_.erase(it);
}

void Copier::run() {
  if (!there_) return;
  if (round_ == 0) {
    if (core_.now() < begin_at_) return;
    begin();
  }
  // What was handed to the store before the round began has to be there to be read.
  if (read_ || stored_ + 1 < since_ || under_way_ >= kMaxUnderWay) return;
  store::Batch piece;
  const bool more = core_.env.store->read_on(after_, kPiece, [&](std::string_view key, std::string_view value) {
    if (is_copied(key) && !fresh_.contains(std::string(key))) piece.put(key, value);
  });
  if (!piece.empty()) send(CopyStep::batch, piece, {0, piece.bytes(), {}, {}, 0});
  if (more) return;
  read_ = true;
  keys_.clear();
  fresh_.clear();
  send(CopyStep::finish, {}, {});
  finish_ = steps_;
}

bool Copier::on_state(const WorkerId& gateway, std::string_view body) {
  bus::Reader reader(body);
  const auto state = static_cast<CopyState>(reader.get<uint8_t>());
  if (!reader.at_end() || state > CopyState::failed) return false;
  gateway_ = gateway;
  there_ = state != CopyState::away;
  begin_at_ = state == CopyState::failed ? core_.now() + kRetryMs : 0;
  end();
  return true;
}

bool Copier::on_copied(std::string_view body) {
  bus::Reader reader(body);
  const auto round = reader.get<uint64_t>();
  const auto done = reader.get<uint64_t>();
  if (!reader.at_end()) return false;
  if (round != round_) return true;
  if (done > steps_) return false;
  uint64_t until = 0;
  while (steps_ - sent_.size() < done) {
    until = sent_.front().us;
    copied_ = std::max(copied_, sent_.front().number);
    under_way_ -= sent_.front().bytes;
    sent_.pop_front();
  }
  if (read_ && done >= finish_ && !std::exchange(whole_, true)) {
    core_.page.set(metrics::Gauge::cluster_copy_whole, 1);
    core_.strays->on_copies_whole();
    core_.life->note_copied();
  }
  if (whole_) copied_us_ = std::max(copied_us_, until);
  core_.journal->run_completed();
  return true;
}

void Copier::on_gateway_gone(const WorkerId& gateway) {
  if (gateway != gateway_) return;
  there_ = false;
  end();
}

}  // namespace broker
