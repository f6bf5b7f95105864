// All clients and their connections; turns what they can do next into events.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "tests/sim/identity.h"

namespace sim {

class Clients {
 public:
  Clients(const Settings& settings, World& world, Oracle& oracle, Trace& trace, base::Random& random);

  Identity& add(const Identity::Profile& profile);
  Connection& open(Identity& identity, Process& process, const Connection::Terms& terms);

  void collect(std::vector<Event>& out) const;        // bytes and acknowledgements
  void collect_deeds(std::vector<Event>& out) const;  // what clients do of their own
  void execute(const Event& event);

  std::deque<Identity>& identities() { return identities_; }
  Identity& identity(uint32_t index) { return identities_[index]; }
  const std::vector<std::unique_ptr<Connection>>& connections() const { return connections_; }
  // No byte is under way between clients and workers, and no client owes an acknowledgement.
  bool quiet() const;
  // What keeps them from being quiet, for a message.
  std::string unrest() const;
  // Some accepting worker's process, of that host if clients do not roam; null: there is none.
  Process* any_ready(uint32_t host) const;

  const Settings& settings;
  World& world;
  Oracle& oracle;
  Trace& trace;
  base::Random& random;

 private:
  void end_of_turn(Process& process);
  void on_death(Process& process);

  std::deque<Identity> identities_;
  std::vector<std::unique_ptr<Connection>> connections_;
};

// The topics of the simulation. Plain, retained and shared ones are apart, so that each delivery's reason is known.
const std::vector<std::string>& plain_topics();
const std::vector<std::string>& retained_topics();
const std::vector<std::string>& shared_topics();
const std::vector<std::string>& plain_filters();
const std::vector<std::string>& shared_filters();

}  // namespace sim
