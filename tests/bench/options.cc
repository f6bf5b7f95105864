#include "tests/bench/options.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <set>
#include <stdexcept>

#include "tests/bench/operation.h"

namespace bench {
namespace {

double number(const std::string& text, double least, double most) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least || value > most) {
    throw std::invalid_argument("'" + text + "' is not a number from " + std::to_string(least) + " to " +
                                std::to_string(most));
  }
  return value;
}

size_t count(const std::string& text, size_t least, size_t most) {
  return static_cast<size_t>(number(text, static_cast<double>(least), static_cast<double>(most)));
}

std::vector<std::string> list(const std::string& text) {
  std::vector<std::string> words;
  for (size_t start = 0; start <= text.size();) {
    const size_t comma = std::min(text.find(',', start), text.size());
    words.push_back(text.substr(start, comma - start));
    start = comma + 1;
  }
  return words;
}

std::vector<int> numbers(const std::string& text, int least, int most) {
  std::vector<int> values;
  for (const std::string& word : list(text)) values.push_back(static_cast<int>(number(word, least, most)));
  return values;
}

std::vector<std::string> names(const std::string& text, const std::vector<std::string>& known) {
  std::vector<std::string> words = list(text);
  for (const std::string& word : words) {
    if (std::ranges::find(known, word) == known.end()) throw std::invalid_argument("'" + word + "' is not known");
  }
  return words;
}

struct Option {
  const char* name;
  const char* value;
  const char* help;
  std::function<void(Options&, const std::string&)> set;
};

const std::vector<Option>& table() {
  static const std::vector<Option> options = {
      {"--binary", "PATH", "the mqtt-master to measure", [](Options& o, const std::string& v) { o.binary = v; }},
      {"--mosquitto", "PATH", "the mosquitto to compare with",
       [](Options& o, const std::string& v) { o.mosquitto = v; }},
      {"--redis", "PATH", "the redis-server between hosts", [](Options& o, const std::string& v) { o.redis = v; }},
      {"--aedes", "PATH", "the folder of its server.js and node_modules",
       [](Options& o, const std::string& v) { o.aedes = v; }},
      {"--brokers", "LIST", "of mqtt-master, mosquitto, forwarder; between hosts of mqtt-master, aedes",
       [](Options& o, const std::string& v) {
         o.brokers = names(v, {"mqtt-master", "mosquitto", "forwarder", "aedes"});
       }},
      {"--ops", "LIST",
       "of connect, fan-in, fan-out, pairs, paced, wildcard, and with a store durable-pairs, durable-fan-out, "
       "retained, offline, and between hosts hosts, hosts-paced",
       [](Options& o, const std::string& v) { o.operations = names(v, operation_names()); }},
      {"--qos", "LIST", "of 0, 1, 2", [](Options& o, const std::string& v) { o.qos = numbers(v, 0, 2); }},
      {"--workers", "LIST", "numbers of mqtt-master workers",
       [](Options& o, const std::string& v) { o.workers = numbers(v, 1, 64); }},
      {"--protocol", "4|5", "MQTT 3.1.1 or 5.0",
       [](Options& o, const std::string& v) { o.protocol = static_cast<Protocol>(count(v, 4, 5)); }},
      {"--seconds", "S", "measured time of an operation",
       [](Options& o, const std::string& v) { o.seconds = number(v, 0.05, 600); }},
      {"--warm-up", "S", "load before the measured time",
       [](Options& o, const std::string& v) { o.warm_up = number(v, 0, 60); }},
      {"--repeat", "N", "runs of an operation; the median is reported",
       [](Options& o, const std::string& v) { o.repeat = static_cast<int>(count(v, 1, 100)); }},
      {"--pairs", "N", "publisher/subscriber pairs, and the publishers of fan-in",
       [](Options& o, const std::string& v) { o.pairs = count(v, 1, 5000); }},
      {"--subscribers", "N", "of fan-out",
       [](Options& o, const std::string& v) { o.subscribers = count(v, 1, 10'000); }},
      {"--connections", "N", "of connect",
       [](Options& o, const std::string& v) { o.connections = count(v, 20, 1'000'000); }},
      {"--filters", "N", "of wildcard, in all",
       [](Options& o, const std::string& v) { o.filters = count(v, 0, 1'000'000); }},
      {"--payload", "BYTES", "of a message",
       [](Options& o, const std::string& v) { o.payload = count(v, Stamp::kSize, 65'536); }},
      {"--rate", "N", "messages a second of paced and hosts-paced, in all",
       [](Options& o, const std::string& v) { o.rate = count(v, 1, 1'000'000); }},
      {"--batch", "N", "messages a write of a saturating publisher",
       [](Options& o, const std::string& v) { o.batch = count(v, 1, 10'000); }},
      {"--window", "N", "messages of a publisher that may be on their way",
       [](Options& o, const std::string& v) { o.window = count(v, 1, 100'000); }},
      {"--inflight", "N", "unacknowledged messages of a publisher at QoS 1 and 2",
       [](Options& o, const std::string& v) { o.inflight = count(v, 1, 10'000); }},
      {"--store", "LIST", "of process, always: store.sync of mqtt-master; default leaves it out",
       [](Options& o, const std::string& v) {
         o.store = names(v, {"default", "process", "always"});
       }},
      {"--restart", "HOW", "stop or kill, in retained and offline",
       [](Options& o, const std::string& v) {
         o.kill = names(v, {"stop", "kill"}).back() == "kill";
       }},
      {"--retained", "N", "messages of retained",
       [](Options& o, const std::string& v) { o.retained = count(v, 100, 100'000'000); }},
      {"--sessions", "N", "of offline, in tens",
       [](Options& o, const std::string& v) { o.sessions = count(v, 10, 1'000'000); }},
      {"--queued", "N", "messages of offline for each session",
       [](Options& o, const std::string& v) { o.queued = count(v, 1, 1'000'000); }},
  };
  return options;
}

void make_quick(Options& options) {
  options.quick = true;
  options.seconds = 0.3;
  options.warm_up = 0.1;
  options.pairs = 10;
  options.subscribers = 50;
  options.connections = 500;
  options.filters = 1000;
  options.rate = 4000;
  options.retained = 5000;
  options.sessions = 100;
  options.queued = 20;
}

}  // namespace

Options parse_options(const std::vector<std::string>& arguments) {
  Options options;
  if (std::ranges::find(arguments, "--quick") != arguments.end()) make_quick(options);
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& name = arguments[i];
    if (name == "--quick") continue;
    const auto option = std::ranges::find_if(table(), [&](const Option& o) { return o.name == name; });
    if (option == table().end()) throw std::invalid_argument("unknown option " + name);
    if (++i == arguments.size()) throw std::invalid_argument(name + " needs a value");
    try {
      option->set(options, arguments[i]);
    } catch (const std::invalid_argument& error) {
      throw std::invalid_argument(name + ": " + error.what());
    }
  }
  options.batch = std::min(options.batch, options.window);
  return options;
}

std::string usage() {
  std::string text = "mqtt-bench [option]...  prints a table on stderr and JSON on stdout\n";
  for (const Option& option : table()) {
    std::string line = std::string("  ") + option.name + " " + option.value;
    line.resize(std::max<size_t>(line.size() + 1, 24), ' ');
    text += line + option.help + "\n";
  }
  return text + "  --quick               every operation for a moment: a smoke test\n";
}

}  // namespace bench
