// Writes the wire vectors, and records of every kind, as seeds for the fuzz targets: fuzz_seeds <directory>
#include <sys/uio.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <set>

#include "proto/framer.h"
#include "shared/bus/message_codec.h"
#include "shared/bus/publish_frame.h"
#include "shared/store/record_json.h"
#include "tests/support/records.h"
#include "tests/vectors/vector_file.h"

namespace {

constexpr size_t kLargest = 4096;

const char* decoder(proto::PacketType type) {
  constexpr const char* kDecoders[] = {"",     "connect", "connack",    "publish", "ack",         "ack",
                                       "ack",  "ack",     "subscribe",  "suback",  "unsubscribe", "unsuback",
                                       "ping", "ping",    "disconnect", "auth"};
  return kDecoders[static_cast<size_t>(type)];
}

class Corpus {
 public:
  explicit Corpus(std::filesystem::path directory) : directory_(std::move(directory)) {}

  void add(const std::string& target, const std::string& bytes) {
    if (bytes.size() > kLargest || !known_.insert(target + '/' + bytes).second) return;
    std::filesystem::create_directories(directory_ / target);
    std::ofstream(directory_ / target / ("seed-" + std::to_string(known_.size())), std::ios::binary) << bytes;
  }
  size_t size() const { return known_.size(); }

 private:
  std::filesystem::path directory_;
  std::set<std::string> known_;
};

void add_packet(Corpus& corpus, const std::string& bytes) {
  // See the head of fuzz_framer.cc: any size up to 64 KiB, large from 4 bytes on, pieces of 1, 2 and 7 bytes.
  const std::string_view plan("\xff\xff\x04\x01\x02\x07\x00", 7);
  corpus.add("fuzz_framer", std::string(plan) + bytes);
  proto::Framer framer(proto::kMaxPacketSize);
  proto::Frame frame;
  std::string_view input = bytes;
  if (framer.next(input, frame) != proto::Framer::Result::frame) return;
  corpus.add(std::string("fuzz_decode_") + decoder(frame.type), bytes[0] + std::string(frame.body));
}

void add_topics(Corpus& corpus) {
  for (const char* pair : {"a/+/#\na/b/c", "#\n$SYS/a", "+/a\n/a", "$share/g/a/#\na", "$share/+/a\n//", "a/#/b\na#",
                           "\xc3\xa4/\xe2\x82\xac/\xf0\x9f\x98\x80\n\xed\xa0\x80", "0123456789/+\n0123456789/#"}) {
    corpus.add("fuzz_topic", pair);
  }
}

void add_frames(Corpus& corpus) {
  constexpr uint64_t kSender = 7;  // fuzz_link.cc
  base::ChunkPool pool;
  bus::Link link(pool);
  if (!link.connected(0)) return;
  bus::Message::Fields message;
  message.uid = {kSender, 1};
  message.topic = "a/b";
  message.payload = "hi";
  bus::append_publish_frame(link, 0, message, kSender);
  message.uid = {9, 2};
  message.once = {9, 1};
  message.expires_at = 5;
  message.publisher = "p";
  message.properties = "\x01\x01";
  message.qos = proto::QoS::exactly_once;
  message.retain = true;
  bus::append_publish_frame(link, 0, message, kSender);
  bus::append_message_frame(link, bus::FrameType::shared_publish, 0, {}, *bus::Message::make(message));
  iovec pieces[16];
  int descriptor = -1;
  std::string bytes(1, '\0');
  const int count = link.gather(pieces, 16, descriptor);
  for (int i = 0; i < count; ++i) bytes.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
  corpus.add("fuzz_link", bytes);
}

void add_replies(Corpus& corpus) {
  for (const char* reply :
       {"+OK\r\n", "-OOM no\r\n", "$-1\r\n", "*1\r\n:0\r\n", "*3\r\n:0\r\n$1\r\n5\r\n$3\r\na.1\r\n",
        "*5\r\n:0\r\n$3\r\na.1\r\n:1\r\n$1\r\n9\r\n*4\r\n$3\r\na.1\r\n$1\r\n7\r\n$1\r\n0\r\n$0\r\n\r\n",
        "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n5-0\r\n*6\r\n$1\r\nf\r\n$1\r\na\r\n$1\r\ng\r\n$1\r\n7\r\n$1\r\nd\r\n"
        "$1\r\nx\r\n",
        "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n5-0\r\n*8\r\n$1\r\np\r\n$1\r\n1\r\n$1\r\nt\r\n$1\r\na\r\n$1\r\nn\r\n"
        "$1\r\n9\r\n$1\r\nv\r\n$1\r\nx\r\n",
        "*2\r\n$1\r\n0\r\n*2\r\n$1\r\nt\r\n$3\r\n9 v\r\n",
        "*4\r\n:0\r\n:3\r\n*2\r\n:3\r\n$2\r\n17\r\n*2\r\n$1\r\nk\r\n$1\r\nv\r\n"}) {
    corpus.add("fuzz_redis_reply", std::string("\x1f") + reply);
  }
}

void add_records(Corpus& corpus) {
  const support::Records records = support::one_of_each();
  for (const auto& [key, value] : records.all()) {
    corpus.add("fuzz_record", static_cast<char>(key.size()) + key + value);
    corpus.add("fuzz_record", '\0' + *store::to_json(0, key, value));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: fuzz_seeds <directory>\n";
    return 2;
  }
  Corpus corpus(argv[1]);
  for (const vectors::Vector& vector : vectors::load_all(MM_VECTORS)) add_packet(corpus, vector.bytes);
  add_topics(corpus);
  add_replies(corpus);
  add_records(corpus);
  add_frames(corpus);
  std::cout << corpus.size() << " seeds\n";
  return 0;
}
