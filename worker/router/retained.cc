#include "worker/router/retained.h"

#include "worker/router/retained_tree.h"

namespace router {
namespace {
// A slice looks at no more nodes than this: well under a millisecond.
constexpr size_t kNodesPerSlice = 4096;
}  // namespace

struct Retained::Cursor::State : RetainedWalk {
  explicit State(std::string_view filter) : RetainedWalk(filter, false) {}
};

Retained::Cursor::Cursor(std::string_view filter) : state_(std::make_unique<State>(filter)) {}
Retained::Cursor::~Cursor() = default;
Retained::Cursor::Cursor(Cursor&&) noexcept = default;
Retained::Cursor& Retained::Cursor::operator=(Cursor&&) noexcept = default;
bool Retained::Cursor::done() const {
  return state_ == nullptr || state_->done();
}

struct Retained::Impl {
  void account(const bus::Message& message) {
    ++count;
    bytes += message.footprint();
    if (message.expires_at() != 0) ++expiring;
  }
  void discount(const bus::Message& message) {
    --count;
    bytes -= message.footprint();
    if (message.expires_at() != 0) --expiring;
  }
  void erase(uint32_t id) {
    discount(*tree.message(id));
    tree.message(id) = {};
    tree.prune(id);
  }

  RetainedTree tree;
  size_t count = 0;
  size_t bytes = 0;
  size_t expiring = 0;
  std::unique_ptr<RetainedWalk> sweep;  // a round in progress
  std::vector<uint32_t> found;          // scratch of the sweep
};

Retained::Retained() : impl_(std::make_unique<Impl>()) {}
Retained::~Retained() = default;

bool Retained::set(const bus::MessageRef& message, uint64_t max_messages) {
  Impl& r = *impl_;
  uint32_t id = r.tree.find(message->topic());
  const bool known = id != RetainedTree::kNone && r.tree.message(id);
  if (message->payload().empty()) {
    if (known) r.erase(id);
    return true;
  }
  if (!known && max_messages != 0 && r.count >= max_messages) return false;
  if (id == RetainedTree::kNone) id = r.tree.reach(message->topic());
  if (known) r.discount(*r.tree.message(id));
  r.tree.message(id) = message;
  r.account(*message);
  return true;
}

const bus::MessageRef* Retained::find(std::string_view topic) const {
  const uint32_t id = impl_->tree.find(topic);
  return id == RetainedTree::kNone || !impl_->tree.message(id) ? nullptr : &impl_->tree.message(id);
}

size_t Retained::count() const {
  return impl_->count;
}
size_t Retained::bytes() const {
  return impl_->bytes;
}
size_t Retained::nodes() const {
  return impl_->tree.size();
}

void Retained::next(Cursor& cursor, size_t max, base::MonoMs now, std::vector<bus::MessageRef>& out) const {
  if (cursor.done() || max == 0) return;
  size_t left = max;
  impl_->tree.advance(*cursor.state_, kNodesPerSlice, [&](uint32_t id) {
    const bus::MessageRef& message = impl_->tree.message(id);
    if (message->expired(now)) return true;
    out.push_back(message);
    return --left > 0;
  });
}

size_t Retained::sweep_expired(base::MonoMs now, size_t max) {
  Impl& r = *impl_;
  if (r.expiring == 0 || max == 0) return 0;
  if (r.sweep == nullptr || r.sweep->done()) r.sweep = std::make_unique<RetainedWalk>("#", true);
  r.found.clear();
  r.tree.advance(*r.sweep, kNodesPerSlice, [&](uint32_t id) {
    if (r.tree.message(id)->expired(now)) r.found.push_back(id);
    return r.found.size() < max;
  });
  for (const uint32_t id : r.found) r.erase(id);
  return r.found.size();
}

}  // namespace router
