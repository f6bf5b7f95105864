#include "worker/broker/far_interest.h"

#include <algorithm>

#include "shared/bus/frames.h"
#include "shared/store/record.h"
#include "worker/broker/journal.h"
#include "worker/broker/peers.h"

namespace broker {
namespace {
constexpr std::string_view kRoute = "route/";
constexpr std::string_view kShare = "share/";
}  // namespace

bool FarInterest::is(std::string_view name) {
  return name.starts_with(kRoute) || name.starts_with(kShare);
}

bool FarInterest::read(std::string_view name, std::string_view& group, std::string_view& filter) {
  if (name.starts_with(kRoute)) {
    group = {};
    filter = name.substr(kRoute.size());
    return !filter.empty();
  }
  if (!name.starts_with(kShare)) return false;
  name.remove_prefix(kShare.size());
  const size_t end = name.find('/');
  if (end == name.npos) return false;
  group = name.substr(0, end);
  filter = name.substr(end + 1);
  return !group.empty() && !filter.empty();
}

bool FarInterest::is_kept_here() const {
  return core_.config.clustered() && core_.self.slot == 0;
}

const std::string& FarInterest::key(std::string_view group, std::string_view filter) {
  std::string name(group.empty() ? kRoute : kShare);
  if (!group.empty()) name.append(group).append("/");
  name.append(filter);
  store::meta_key(key_, name);
  return key_;
}

void FarInterest::keep(std::string_view group, std::string_view filter) {
  if (is_kept_here()) core_.journal->put(key(group, filter), {});
}

void FarInterest::forget(std::string_view group, std::string_view filter) {
  if (is_kept_here()) core_.journal->erase(key(group, filter));
}

bool FarInterest::on_mark(const WorkerId& gateway, std::string_view body) {
  bus::Reader reader(body);
  const auto number = reader.get<uint64_t>();
  if (!reader.at_end() || !is_kept_here() || gateway.slot != core_.gateway_slot()) return false;
  if (!(gateway == asked_by_)) answered_ = 0;
  asked_by_ = gateway;
  asked_ = number;
  core_.journal->then([this, gateway, number] { answer(gateway, number); });
  return true;
}

void FarInterest::on_tick() {
  if (asked_ != answered_ && core_.journal->stuck()) answer(asked_by_, asked_);
}

void FarInterest::answer(const WorkerId& gateway, uint64_t number) {
  Peer* peer = core_.peers->find(gateway);
  if (peer == nullptr) return;
  answered_ = std::max(answered_, number);
  bus::Writer(core_.scratch).put<uint64_t>(number);
  core_.peers->send(*peer, bus::FrameType::marked, bus::kAckSoon, core_.scratch);
}

}  // namespace broker
