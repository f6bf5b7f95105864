#include "worker/router/retained.h"

#include "worker/router/retained_tree.h"

namespace router {
namespace {
// A slice looks at no more nodes than this: well under a millisecond.
constexpr size_t kNodesPerSlice = 4096;
}  // namespace

struct Retained::Cursor::State : RetainedWalk {
  State(std::string_view filter, bool dollar_too) : RetainedWalk(filter, dollar_too) {}
};

Retained::Cursor::Cursor(std::string_view filter, bool dollar_too)
    : state_(std::make_unique<State>(filter, dollar_too)) {}
Retained::Cursor::~Cursor() = default;
Retained::Cursor::Cursor(Cursor&&) noexcept = default;
Retained::Cursor& Retained::Cursor::operator=(Cursor&&) noexcept = default;
bool Retained::Cursor::done() const {
  return state_ == nullptr || state_->done();
}

struct Retained::Impl {
  void account(const bus::Message& message) {
    if (message.expires_at() != 0) ++expiring;
    if (message.payload().empty()) {
      ++tombstones;
      return;
    }
    ++count;
    bytes += message.footprint();
  }
  void discount(const bus::Message& message) {
    if (message.expires_at() != 0) --expiring;
    if (message.payload().empty()) {
      --tombstones;
      return;
    }
    --count;
    bytes -= message.footprint();
  }
  void erase(uint32_t id) {
    discount(*tree.message(id));
    tree.message(id) = {};
    tree.stamp(id) = {};
    tree.prune(id);
  }
  void put(const bus::MessageRef& message, const RetainedStamp& stamp) {
    const uint32_t id = tree.reach(message->topic());
    if (tree.message(id)) discount(*tree.message(id));
    tree.message(id) = message;
    tree.stamp(id) = stamp;
    account(*message);
  }

  RetainedTree tree;
  size_t count = 0;
  size_t bytes = 0;
  size_t tombstones = 0;
  size_t expiring = 0;
  std::unique_ptr<RetainedWalk> sweep;  // a round in progress
};

Retained::Retained() : impl_(std::make_unique<Impl>()) {}
Retained::~Retained() = default;

bool Retained::set(const bus::MessageRef& message, uint64_t max_messages) {
  Impl& r = *impl_;
  if (message->payload().empty()) {
    erase(message->topic());
    return true;
  }
  if (max_messages != 0 && r.count >= max_messages && find(message->topic()) == nullptr) return false;
  r.put(message, {});
  return true;
}

const bus::MessageRef* Retained::find(std::string_view topic) const {
  const uint32_t id = impl_->tree.find(topic);
  if (id == RetainedTree::kNone || !impl_->tree.message(id)) return nullptr;
  return impl_->tree.message(id)->payload().empty() ? nullptr : &impl_->tree.message(id);
}

Retained::Entry Retained::entry(std::string_view topic) const {
  const uint32_t id = impl_->tree.find(topic);
  if (id == RetainedTree::kNone) return {};
  return {impl_->tree.message(id), impl_->tree.stamp(id)};
}

void Retained::put(const bus::MessageRef& message, const RetainedStamp& stamp) {
  impl_->put(message, stamp);
}

void Retained::restamp(std::string_view topic, const RetainedStamp& stamp) {
  impl_->tree.stamp(impl_->tree.find(topic)) = stamp;
}

void Retained::erase(std::string_view topic) {
  const uint32_t id = impl_->tree.find(topic);
  if (id != RetainedTree::kNone && impl_->tree.message(id)) impl_->erase(id);
}

size_t Retained::count() const {
  return impl_->count;
}
size_t Retained::bytes() const {
  return impl_->bytes;
}
size_t Retained::tombstones() const {
  return impl_->tombstones;
}
size_t Retained::nodes() const {
  return impl_->tree.size();
}

void Retained::next(Cursor& cursor, size_t max, base::MonoMs now, std::vector<bus::MessageRef>& out) const {
  if (cursor.done() || max == 0) return;
  size_t left = max;
  impl_->tree.advance(*cursor.state_, kNodesPerSlice, [&](uint32_t id) {
    const bus::MessageRef& message = impl_->tree.message(id);
    if (message->expired(now) || message->payload().empty()) return true;
    out.push_back(message);
    return --left > 0;
  });
}

void Retained::scan(Cursor& cursor, std::vector<Entry>& out) const {
  if (cursor.done()) return;
  impl_->tree.advance(*cursor.state_, kNodesPerSlice, [&](uint32_t id) {
    out.push_back({impl_->tree.message(id), impl_->tree.stamp(id)});
    return true;
  });
}

void Retained::find_expired(base::MonoMs now, size_t max, std::vector<Entry>& out) {
  Impl& r = *impl_;
  if (r.expiring == 0 || max == 0) return;
  if (r.sweep == nullptr || r.sweep->done()) r.sweep = std::make_unique<RetainedWalk>("#", true);
  r.tree.advance(*r.sweep, kNodesPerSlice, [&](uint32_t id) {
    if (r.tree.message(id)->expired(now)) out.push_back({r.tree.message(id), r.tree.stamp(id)});
    return out.size() < max;
  });
}

}  // namespace router
