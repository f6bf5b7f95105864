// The records of a store: whatever a decoder takes encodes to the bytes it was decoded from, the check says what is
// wrong with any bytes, and what it finds nothing wrong with goes through JSON and back unchanged.
//
// Input: size of the key (1 byte), the key, the value.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "shared/store/record_check.h"
#include "shared/store/record_json.h"

using namespace store;

namespace {

// With these clocks stored times stay as they are.
constexpr Now kAsStored{0, 0};

void require(bool condition) {
  if (!condition) std::abort();
}

std::string key_bytes(const Key& key) {
  std::string out;
  switch (key.kind) {
    case Kind::meta:
      meta_key(out, key.text);
      break;
    case Kind::session:
      session_key(out, key.sid);
      break;
    case Kind::subscription:
      key.shared ? share_key(out, key.sid, key.group, key.text) : subscription_key(out, key.sid, key.text);
      break;
    case Kind::delivery:
      delivery_key(out, key.sid, key.number);
      break;
    case Kind::progress:
      progress_key(out, key.sid, key.number);
      break;
    case Kind::incoming:
      incoming_key(out, key.sid, static_cast<uint16_t>(key.number));
      break;
    case Kind::accepted:
      accepted_key(out, key.number);
      break;
    case Kind::outbox:
      outbox_key(out, key.slot, key.number);
      break;
    case Kind::retained:
      retained_key(out, key.text);
      break;
    case Kind::seen:
      seen_key(out, key.slot, key.incarnation, key.seen);
      break;
  }
  return out;
}

template <typename Record>
void check(std::string_view value) {
  Record record;
  if (!decode(value, record)) return;
  std::string again;
  encode(again, record);
  require(again == value);
}

void check_messages(std::string_view value) {
  std::string again;
  if (const bus::MessageRef message = read_message(value, kAsStored)) {
    append_message(again, *message, kAsStored);
    require(again == value);
  }
  if (RetainedRecord r; decode(value, r, kAsStored)) {
    encode(again, r, kAsStored);
    require(again == value);
  }
  if (DeliveryRecord d; decode(value, d, kAsStored)) {
    encode_delivery(again, d.progress, d.qos, d.retain, d.ids.data(), d.ids.size(), d.shared, d.group, d.filter,
                    *d.message, kAsStored);
    require(again == value);
  }
  if (PendingRecord p; decode(value, p, kAsStored)) {
    encode(again, p, kAsStored);
    require(again == value);
  }
}

void check_json(std::string_view key, std::string_view value) {
  if (!problem_of(key, value).empty()) return;
  const auto line = to_json(1, key, value);
  if (!line) return;
  const ImportedRecord back = record_from_json(*line);
  require(back.slot == 1 && back.key == key && back.value == value);
}

// The rest of the input as a line of an import: refused, or a record.
void check_line(std::string_view line) {
  try {
    const ImportedRecord record = record_from_json(line);
    require(parse_key(record.key).has_value() || !problem_of(record.key, record.value).empty());
  } catch (const std::exception&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  // Copies of their own, so that a byte read past the end shows.
  const std::string key(input.substr(0, data[0]));
  const std::string value(input.substr(key.size()));
  if (const auto parsed = parse_key(key)) require(key_bytes(*parsed) == key);
  check<Layout>(value);
  check<SessionRecord>(value);
  check<SubscriptionRecord>(value);
  check<ProgressRecord>(value);
  check_messages(value);
  require(!describe_key(key).empty());
  check_json(key, value);
  check_line(input);
  return 0;
}
