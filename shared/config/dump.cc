#include "shared/config/dump.h"

#include "shared/config/json_text.h"
#include "shared/config/redis_url.h"
#include "shared/config/schema.h"

namespace config {
namespace {

struct ToJson {
  Secrets secrets;
  template <typename T>
  Json operator()(T* value) const {
    return *value;
  }
  Json operator()(TextRef ref) const { return *ref.value; }
  Json operator()(PathRef ref) const { return *ref.value; }
  Json operator()(EnumRef ref) const { return ref.names[*ref.value]; }
  Json operator()(CountRef ref) const { return *ref.value; }
  Json operator()(ListenRef ref) const {
    Json urls = Json::array();
    for (const Listen& listen : *ref.value) urls.push_back(listen.url);
    return urls;
  }
  Json operator()(RedisUrlRef ref) const {
    return secrets == Secrets::masked ? mask_passwords(*ref.value) : *ref.value;
  }
  Json operator()(SecretRef ref) const {
    return secrets == Secrets::masked && !ref.value->empty() ? std::string("***") : *ref.value;
  }
  Json operator()(HostsRef ref) const { return *ref.value; }
};

// Sets document["a"]["b"] for the path "a.b".
void set(Json& document, std::string_view path, Json value) {
  const size_t dot = path.find('.');
  if (dot == std::string_view::npos) {
    document[std::string(path)] = std::move(value);
  } else {
    set(document[std::string(path.substr(0, dot))], path.substr(dot + 1), std::move(value));
  }
}

}  // namespace

std::string dump(const Config& original, Secrets secrets) {
  Config config = original;  // the accessors point into something that can be changed
  Json document = Json::object();
  for (const Option& option : options()) {
    if (option.path.starts_with(kGroupPrefix)) continue;
    if (option.path.starts_with(kRedisPrefix) && !config.clustered()) continue;  // "redis" there would mean a cluster
    set(document, option.path, std::visit(ToJson{secrets}, option.ref({config, nullptr})));
  }
  for (WorkerGroup& group : config.workers) {
    Json& to = document["workers"][group.name];
    for (const Option& option : options()) {
      if (!option.path.starts_with(kGroupPrefix)) continue;
      set(to, option.path.substr(kGroupPrefix.size()), std::visit(ToJson{secrets}, option.ref({config, &group})));
    }
  }
  return document.dump(2, ' ', false, Json::error_handler_t::replace);
}

std::string reference_markdown() {
  std::string out = "| option | default | takes | meaning |\n|---|---|---|---|\n";
  for (const Option& option : options()) {
    out += "| `" + std::string(option.path) + "` | `" + default_value(option) + "` | " + expected_value(option) +
           " | " + std::string(option.help) + " |\n";
  }
  return out;
}

}  // namespace config
