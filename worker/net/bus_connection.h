// One socket between two workers: first a hello each way, then a bus::Link's bytes and descriptors. Decides nothing:
// what a hello means is its owner's business.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "shared/base/unique_fd.h"
#include "shared/bus/link.h"
#include "shared/loop/poll.h"
#include "worker/net/bus_hello.h"
#include "worker/net/context.h"

namespace net {

class BusConnection {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void on_hello(BusConnection& connection, const Hello& hello) = 0;
    // False: malformed.
    virtual bool on_bytes(BusConnection& connection, std::string_view bytes) = 0;
    // What is read from now on should wait for the next turn, all but a little.
    virtual bool saturated() const = 0;
    // More was written after the socket had been full.
    virtual void on_progress(BusConnection& connection) = 0;
    // End of stream, error or malformed input. Called once; never after close().
    virtual void on_closed(BusConnection& connection, std::string_view reason) = 0;
  };

  // `buffer` is for reading; all connections of an owner may use the same. None of the owner's callbacks may destroy
  // the connection.
  BusConnection(Context& context, base::UniqueFd fd, Owner& owner, std::span<char> buffer);

  void send_hello(const Hello& hello);
  // The hellos are exchanged: from now on `link`'s stream flows. `link` outlives this connection or its close().
  void establish(bus::Link& link);
  bool established() const { return link_ != nullptr; }
  bus::Link* link() const { return link_; }
  // Writes what the link has waiting as far as the kernel takes it.
  void flush();
  // The link has something, the socket would take it, but descriptors or memory are short: try again soon.
  bool starved() const { return starved_; }
  // Forgets the link and the owner.
  void close();
  bool closed() const { return closed_; }

 private:
  static constexpr int kMaxVectors = 64;
  static constexpr size_t kWriteBudget = 8 * 1024 * 1024;  // in one flush
  static constexpr size_t kReadBudget = 1024 * 1024;       // in one turn
  static constexpr size_t kLeastRead = 8 * 1024;
  static constexpr size_t kReadAgain = 32 * 1024;  // a read that brought as much may have left something behind

  void on_poll(int events);
  void read_hello();
  // Reads until nothing is left, the owner has enough or the budget is used up. How much is asked for at once follows
  // what the peer's bytes cost: a few kilobytes may be a million deliveries.
  void read_link();
  // Bytes read, at most `max`; 0: nothing now. Reports a closed connection itself.
  size_t receive(size_t max);
  ssize_t send_some(const iovec* vectors, int count, int attachment);
  void fail(std::string_view reason);
  void poll_again();

  Context& context_;
  Owner& owner_;
  std::span<char> buffer_;
  bus::Link* link_ = nullptr;
  size_t read_size_ = kLeastRead;
  size_t hello_size_ = 0;  // read so far
  Hello::Bytes hello_{};
  bool blocked_ = false;  // waiting for the socket to become writable
  bool starved_ = false;
  bool write_broken_ = false;  // the peer reads no more; what it wrote before is still to be read
  bool closed_ = false;
  base::UniqueFd fd_;
  loop::Poll poll_;  // last: destroyed before the descriptor it polls
};

}  // namespace net
