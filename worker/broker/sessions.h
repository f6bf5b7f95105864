// The sessions this worker owns: table, end of connection, expiry, wills. [MQTT5 3.1.2.5, 3.1.2.11.2, 4.1]
//
//   connected ──end──> expiry 0: ended, will fires
//                      expiry > 0: offline ──resume──> connected (a delayed will is cancelled)
//                                     │ will delay over: will fires
//                                     └ expiry over: ended, a will still pending fires
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "worker/broker/core.h"

namespace broker {

class Sessions {
 public:
  explicit Sessions(Core& core) : core_(core) {}
  ~Sessions();

  session::Session* find(std::string_view client_id);
  session::Session* by_id(router::SubscriberId id) { return id < table_.size() ? table_[id].get() : nullptr; }
  session::Session& create(std::string client_id);
  // Ends a session: subscriptions, messages and the object are gone; the directory is told.
  void end(session::Session& session);
  // The same for one that lives on elsewhere, or has been replaced there: nobody is told, nothing is given on.
  void forget(session::Session& session);

  // The connection of a session ended. `with_will`: not by a normal DISCONNECT.
  void on_disconnected(session::Session& session, bool with_will);
  // A newer connection takes the session (resume) or replaces it (discard): closes the old connection, settles the
  // will. DESIGN section 5: a will without delay fires even if the client is back at once.
  void settle_before_takeover(session::Session& session, bool discard);
  // Publishes the will, if there is one. That it has gone from the session's record is written by the caller.
  void fire_will(session::Session& session);
  // A session without a connection: starts its expiry.
  void go_offline(session::Session& session);
  // A session has come from the store. `alive_ms`: when this worker's predecessor was last at work, wall clock.
  void on_restored(session::Session& session, uint64_t wall_ms, uint64_t alive_ms);

  // Sessions in the client ids' table.
  size_t size() const { return by_client_id_.size(); }
  template <typename F>
  void for_each(F&& f) {
    for (auto& [id, session] : by_client_id_) f(*session);
  }

 private:
  void destroy(session::Session& session);
  void arm(session::Session& session, uint64_t offline_ms);
  session::Session::Timers& timers(session::Session& session);
  static void on_expiry(base::TimerNode& node);
  static void on_will_delay(base::TimerNode& node);

  Core& core_;
  std::vector<std::unique_ptr<session::Session>> table_;
  std::vector<router::SubscriberId> free_;
  std::unordered_map<std::string_view, session::Session*> by_client_id_;  // keys point into the sessions
};

}  // namespace broker
