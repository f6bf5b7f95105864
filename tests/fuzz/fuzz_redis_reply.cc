// Bytes from Redis: whatever they are, they are replies or an error, and no answer is made of a reply of another shape
// without noticing. The first byte says in what pieces they come.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "shared/redis/redis_answers.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t piece = 1 + data[0] % 32;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  redis::ReplyReader reader(1 << 16, 1000);
  for (size_t at = 0; at < bytes.size(); at += piece) {
    reader.feed(bytes.substr(at, piece));
    while (const auto reply = reader.next()) {
      redis::to_status(*reply);
      redis::to_joined(*reply);
      redis::to_claimed(*reply);
      redis::to_held(*reply);
      redis::to_holder(*reply);
      redis::to_version(*reply);
      redis::to_mine(*reply);
      redis::to_records(*reply);
      redis::to_entries(*reply, "s");
      redis::to_changes_end(*reply);
      auto read = redis::to_changes(*reply, "s", 1);
      if (read && !redis::fill_kept(*reply, *read) && read->kept.size() > read->changes.items.size()) std::abort();
      redis::to_snapshot(*reply);
      redis::to_is_master(*reply);
      redis::configuration_warnings(*reply);
      redis::info_field(reply->text, "run_id");
      redis::severity_of(reply->text);
    }
  }
  return 0;
}
