// A worker without MQTT, so that the process model can be tested by itself: it answers each connection with its name
// and pid, e.g. "mqtt/0 1234 1", and closes it. The last number is the count of slots it accepts for.
//
// The file RUN_DIR/fake.SLOT says how it behaves:
//   crash          aborts at once            crash_ready    aborts when ready
//   fatal          exits with kExitFatal     exit:N         exits with N at once
//   mute           never gets ready          slow:MS        gets ready after MS milliseconds
//   no_redis       a gateway without Redis
//   stubborn       ignores SIGTERM and Stop  deaf           closes its control channel when ready
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "shared/base/clock.h"
#include "shared/control/boot.h"
#include "shared/control/channel.h"
#include "shared/control/worker_entry.h"
#include "shared/loop/loop.h"
#include "shared/loop/poll.h"
#include "shared/loop/signal.h"
#include "shared/loop/timer.h"
#include "shared/metrics/page.h"

namespace worker {
namespace {

class FakeWorker {
 public:
  explicit FakeWorker(control::Boot boot)
      : boot_(std::move(boot)),
        name_(config::slot_name(boot_.config, boot_.slot)),
        pages_(boot_.metrics.get(), boot_.config.process_count()),
        page_(pages_.slot(boot_.slot)),
        timer_(loop_),
        heartbeat_(loop_) {
    std::ifstream(boot_.config.run_dir + "/fake." + std::to_string(boot_.slot)) >> behaviour_;
    page_.set(metrics::Gauge::ready, 0);
    page_.set(metrics::Gauge::incarnation, boot_.incarnation);
  }

  int run() {
    if (behaviour_ == "crash") std::abort();
    if (behaviour_ == "fatal") return control::kExitFatal;
    if (behaviour_.starts_with("exit:")) return std::stoi(behaviour_.substr(5));
    channel_ = std::make_unique<control::Channel>(
        loop_, std::move(boot_.control),
        control::Channel::Handler{[this](const control::Message& message, std::vector<base::UniqueFd> fds) {
                                    on_message(message, std::move(fds));
                                  },
                                  [this](const std::string&) { loop_.stop(); }});
    loop::Signal terminate(loop_, SIGTERM, [this] { stop(); });
    heartbeat_.start(0, 50, [this] { page_.set(metrics::Gauge::heartbeat_ms, clock_.now_ms()); });
    if (behaviour_ != "mute") {
      const uint64_t delay = behaviour_.starts_with("slow:") ? std::stoull(behaviour_.substr(5)) : 0;
      timer_.start(delay, 0, [this] { get_ready(); });
    }
    loop_.run();
    listeners_.clear();
    channel_.reset();
    return exit_code_;
  }

 private:
  struct Listener {
    FakeWorker& worker;
    base::UniqueFd fd;
    loop::Poll poll;
    Listener(FakeWorker& w, base::UniqueFd f) : worker(w), fd(std::move(f)), poll(w.loop_, fd.get()) {
      poll.start(
          loop::kReadable, [](void* self, int) { static_cast<Listener*>(self)->accept_one(); }, this);
    }
    void accept_one() {
      const base::UniqueFd client(accept4(fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!client) return;
      worker.page_.add(metrics::Counter::packets_received);
      const std::string text =
          worker.name_ + ' ' + std::to_string(getpid()) + ' ' + std::to_string(worker.listeners_.size()) + '\n';
      send(client.get(), text.data(), text.size(), MSG_NOSIGNAL);
    }
  };

  void listen(uint32_t slot, base::UniqueFd fd) {
    listeners_[slot].push_back(std::make_unique<Listener>(*this, std::move(fd)));
  }

  void get_ready() {
    for (control::ListeningSocket& socket : boot_.listeners) listen(boot_.slot, std::move(socket.fd));
    page_.set(metrics::Gauge::ready, 1);
    page_.set(metrics::Gauge::redis_up, behaviour_ != "no_redis");
    page_.set(metrics::Gauge::cluster_ready, behaviour_ != "no_redis");
    if (boot_.config.is_gateway(boot_.slot))
      channel_->send(control::Nodes{"", false, {{"one.1", 9000, ""}, {"two.1", 0, "one.1"}}});
    channel_->send(control::Ready{boot_.incarnation});
    if (behaviour_ == "crash_ready") std::abort();
    if (behaviour_ == "deaf") channel_.reset();
  }

  void on_message(const control::Message& message, std::vector<base::UniqueFd> fds) {
    if (std::holds_alternative<control::Stop>(message)) stop();
    if (const auto* peers = std::get_if<control::Peers>(&message)) check(*peers);
    if (const auto* adopt = std::get_if<control::Adopt>(&message)) {
      for (base::UniqueFd& fd : fds) listen(adopt->slot, std::move(fd));
    }
    if (const auto* unadopt = std::get_if<control::Unadopt>(&message)) listeners_.erase(unadopt->slot);
  }

  // A worker never sees itself missing: what the master would hear of it is a fatal exit.
  void check(const control::Peers& peers) {
    for (const control::Peer& peer : peers.peers) {
      if (peer == control::Peer{boot_.slot, boot_.incarnation}) return;
    }
    exit_code_ = control::kExitFatal;
    loop_.stop();
  }

  void stop() {
    if (behaviour_ != "stubborn") loop_.stop();
  }

  control::Boot boot_;
  base::SystemClock clock_;
  std::string name_;
  std::string behaviour_;
  metrics::Pages pages_;
  metrics::PageRef page_;
  loop::Loop loop_;
  loop::Timer timer_;
  loop::Timer heartbeat_;
  std::unique_ptr<control::Channel> channel_;
  std::map<uint32_t, std::vector<std::unique_ptr<Listener>>> listeners_;  // by slot
  int exit_code_ = 0;
};

}  // namespace

int worker_main(control::Boot boot) {
  return FakeWorker(std::move(boot)).run();
}

}  // namespace worker
