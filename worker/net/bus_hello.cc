#include "worker/net/bus_hello.h"

#include <bit>
#include <cstring>

#include "shared/bus/link.h"

namespace net {
namespace {

static_assert(std::endian::native == std::endian::little);
constexpr uint32_t kMagic = 0x424D514D;  // "MQMB"

struct Layout {
  uint32_t magic;
  uint8_t version;
  uint8_t zero[3];
  uint32_t from_slot;
  uint32_t to_slot;
  uint64_t from_incarnation;
  uint64_t to_incarnation;
  uint64_t received;
};
static_assert(sizeof(Layout) == Hello::kSize);

}  // namespace

Hello::Bytes encode(const Hello& hello) {
  const Layout layout{
      kMagic,        bus::kBusVersion, {}, hello.from.slot, hello.to.slot, hello.from.incarnation, hello.to.incarnation,
      hello.received};
  Hello::Bytes bytes;
  std::memcpy(bytes.data(), &layout, sizeof layout);
  return bytes;
}

std::optional<Hello> decode(const Hello::Bytes& bytes) {
  Layout layout;
  std::memcpy(&layout, bytes.data(), sizeof layout);
  if (layout.magic != kMagic || layout.version != bus::kBusVersion) return std::nullopt;
  return Hello{{layout.from_slot, layout.from_incarnation}, {layout.to_slot, layout.to_incarnation}, layout.received};
}

}  // namespace net
