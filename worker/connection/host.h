// What a client's state machine asks of the broker around it, and what it is told back. The client decodes, checks and
// answers packets; who gets a message, who owns a session and when something is safe are the broker's decisions.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/framer.h"
#include "proto/packet.h"
#include "shared/base/clock.h"
#include "shared/base/timer_wheel.h"
#include "shared/bus/message.h"
#include "shared/config/config.h"
#include "shared/metrics/page.h"
#include "worker/session/session.h"

namespace connection {

class MqttClient;

// How a PUBLISH (QoS > 0) is answered: at once, or by publish_complete() when the message is safe.
struct PublishOutcome {
  bool complete = true;
  proto::ReasonCode reason = proto::ReasonCode::success;
};

// What CONNECT asks for, checked.
struct ConnectRequest {
  std::string client_id;
  bool clean_start = true;
  uint32_t session_expiry = 0;  // already bounded by session_expiry_max
};

class Host {
 public:
  virtual ~Host() = default;

  // Obtains the session; answers with on_session() or on_refused(), perhaps before it returns.
  virtual void claim(MqttClient& client, const ConnectRequest& request) = 0;
  // `properties` is forwarded block of the message. `pending` names the answer: passed back to publish_complete().
  virtual PublishOutcome publish(MqttClient& client, const proto::Publish& packet, std::string_view topic,
                                 std::unique_ptr<proto::PacketBuffer> buffer, uint64_t pending) = 0;
  // Subscribes to the entries (already checked, shared ones too). `reasons` has one success code per accepted entry and
  // an error for those that are not to be touched. SUBACK goes out through subscribe_complete().
  virtual void subscribe(MqttClient& client, const proto::Subscribe& packet,
                         std::vector<proto::ReasonCode> reasons) = 0;
  // One reason per filter.
  virtual std::vector<proto::ReasonCode> unsubscribe(MqttClient& client, const proto::Unsubscribe& packet) = 0;

  enum class Ending : uint8_t { clean, with_will, taken_over };
  // The client's connection is over; the session lives on or ends as the protocol says. Called exactly once, also
  // while claiming (session() is null then).
  virtual void on_client_closed(MqttClient& client, Ending ending) = 0;

  // Calls `then` when everything that has been written of the client's session is stored; at once if it is not stored
  // at all. Not called if the client has closed by then.
  virtual void when_stored(MqttClient& client, std::function<void()> then) = 0;

  // The client's output shrank, or it acknowledged something: what waits for that (retained replay) goes on.
  virtual void on_client_room(MqttClient& client) = 0;

  // Closes the client at the end of the turn: for use inside a delivery, where its session must stay.
  virtual void close_later(MqttClient& client, proto::ReasonCode reason, const char* what) = 0;

  // The client has parsed enough for this turn (ClientContext::budget); continue_parsing() is called in the next.
  virtual void defer(MqttClient& client) = 0;

  // Sum of partly received packets of this worker, in bytes.
  virtual uint64_t& partial_bytes() = 0;
};

// Encodings at QoS 0 are equal for all receivers of one version. Most messages have one receiver, so it is the second's
// that is kept, and copied to each further output.
struct EncodeCache {
  bus::MessageRef message;
  proto::ProtocolVersion version = proto::ProtocolVersion::v3_1_1;
  bool retain = false;
  std::string bytes;
};

// What all clients of a worker share. Outlives them.
struct ClientContext {
  const config::Mqtt* config = nullptr;
  const base::Clock* clock = nullptr;
  base::TimerWheel* wheel = nullptr;
  metrics::PageRef page{nullptr};
  Host* host = nullptr;
  const proto::Framer::MakeBuffer* make_buffer = nullptr;
  EncodeCache encoded;
  // Deliveries left for this turn: past it clients' input waits, so that no fan-out keeps the loop from its other work.
  int64_t budget = std::numeric_limits<int64_t>::max();
  // A line of the log about a client: level as in broker::LogSink.
  std::function<void(int level, std::string_view event, const MqttClient& client, std::string_view detail)> log;
};

}  // namespace connection
