#include "shared/loop/resolver.h"

#include <netdb.h>

#include <cstring>

#include "shared/loop/handle.h"

namespace loop {

struct Resolver::State {
  uv_getaddrinfo_t request{};
  Fn fn;
  bool answered = false;   // libuv is done with this
  bool abandoned = false;  // the Resolver is gone
};

void Resolver::Cancel::operator()(State* state) const {
  if (state->answered) {
    delete state;
    return;
  }
  state->abandoned = true;
  // What runs already ends by itself. The callback comes in either case.
  uv_cancel(reinterpret_cast<uv_req_t*>(&state->request));
}

namespace {

std::vector<Address> addresses_of(const addrinfo* list) {
  std::vector<Address> all;
  for (; list != nullptr; list = list->ai_next) {
    if (list->ai_addrlen > sizeof(sockaddr_storage)) continue;
    Address address;
    std::memcpy(&address.storage, list->ai_addr, list->ai_addrlen);
    address.size = list->ai_addrlen;
    all.push_back(address);
  }
  return all;
}

}  // namespace

Resolver::Resolver(Loop& loop, const std::string& host, uint16_t port, Fn fn) : state_(new State) {
  state_->fn = std::move(fn);
  state_->request.data = state_.get();
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  const auto callback = [](uv_getaddrinfo_t* request, int status, addrinfo* list) {
    const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(list, uv_freeaddrinfo);
    auto* state = static_cast<State*>(request->data);
    state->answered = true;
    if (state->abandoned) {
      delete state;
      return;
    }
    // May destroy the Resolver, and the state with it.
    const Fn running = std::move(state->fn);
    internal::guarded([&] { running(addresses_of(list), status == 0 ? "" : uv_strerror(status)); });
  };
  CHECK(uv_getaddrinfo(loop.raw(), &state_->request, callback, host.c_str(), std::to_string(port).c_str(), &hints) ==
        0);
}

}  // namespace loop
