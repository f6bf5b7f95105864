// In a cluster, at a worker: the copy in Redis of what this worker stores, with which another host goes on when this
// one dies. DESIGN section 7.
//
//   journal ──batch──> store ──────────────────────────> stored  ┐ both, while the copy is whole: the batch is
//              └─────> gateway ──hub.copy()──> Redis ──> copied  ┘ complete, and what rests on it is acknowledged
//
// A copy is begun when the gateway says that Redis is there: everything stored is read piece by piece and sent, and all
// batches from then on with it, in their order. When all of it has arrived the copy is whole. Until then, and while
// Redis is away, batches are complete when they are stored here (contract C8), and a copy of before stays what it was.
//
// What is read must not undo what has been sent: keys of batches that are on their way to the store are left out, their
// newer values have been sent already. Retained messages are not copied, Redis has them anyway; nor is what other hosts
// want.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "shared/bus/frames.h"
#include "shared/store/store.h"
#include "worker/broker/core.h"
#include "worker/broker/host_life.h"

namespace broker {

struct Peer;

class Copier {
 public:
  explicit Copier(Core& core) : core_(core) {}

  // --- journal ---
  // A batch is handed to the store. `number`: the journal's.
  void add(const store::Batch& batch, uint64_t number);
  void on_stored(uint64_t number);
  // Wall clock: everything that was stored here until then is in a whole copy; 0: never was.
  uint64_t copied_us() const { return copied_us_; }
  bool whole() const { return whole_; }
  // It is stored, and not complete before it is copied.
  bool waits_for(uint64_t number) const { return whole_ && number > copied_; }

  // --- the gateway ---
  bool on_state(const WorkerId& gateway, std::string_view body);
  bool on_copied(std::string_view body);
  // It may have been replaced already.
  void on_gateway_gone(const WorkerId& gateway);

  // A piece of what is stored. Once a turn.
  void run();

 private:
  static constexpr size_t kPiece = 64 * 1024;
  static constexpr size_t kMaxUnderWay = 1024 * 1024;  // of pieces that are sent and not copied
  static constexpr base::MonoMs kRetryMs = 1000;

  struct Sent {           // a step of the round
    uint64_t number = 0;  // the last batch of the journal that it brings, or a step before it; 0: none
    size_t bytes = 0;     // of a piece
    std::vector<std::pair<uint64_t, uint64_t>> queued;  // sid and position of the messages that a batch stores
    CopiedTo first;                                     // the lowest numbers of what a batch stores; 0: nothing
    uint64_t us = 0;  // wall clock: what was stored until then is in it, or in a step before it
  };
  void begin();
  void end();
  // The numbers below these are all copied.
  CopiedTo copied_to() const;
  void send(bus::CopyStep step, const store::Batch& batch, Sent sent);
  static bool is_copied(std::string_view text);

  Core& core_;
  WorkerId gateway_;    // that said so
  bool there_ = false;  // the gateway can copy
  uint64_t round_ = 0;  // 0: none
  bool whole_ = false;  // all there was when the round began has arrived
  bool read_ = false;   // ... has been read and sent
  base::MonoMs begin_at_ = 0;
  uint64_t since_ = 0;   // the first batch that is sent along
  uint64_t stored_ = 0;  // batches that are stored
  uint64_t copied_ = 0;  // batches that are copied
  uint64_t copied_us_ = 0;
  uint64_t last_round_ = 0;
  std::string after_;      // read up to here
  uint64_t steps_ = 0;     // of the round, sent
  uint64_t finish_ = 0;    // the step that makes it whole
  std::deque<Sent> sent_;  // and not copied
  size_t under_way_ = 0;
  // While reading: keys of batches that have been sent and are not stored yet.
  std::map<uint64_t, std::vector<std::string>> keys_;
  std::unordered_map<std::string, uint32_t> fresh_;
};

}  // namespace broker
