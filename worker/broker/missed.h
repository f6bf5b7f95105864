// In a cluster: messages that are known here, but that a session which has come from another host has not got.
//
// A worker of host X routes a message; host Y has it, and Z not yet, when X's gateway or all of X dies. A session goes
// from Z to Y. Then X, its replacement or its guest, routes the message again: at Y it is a repetition, at Z the
// session is not any more. (On one host no session moves before everything has been routed again; over hosts that may
// be long.)
//
// So a session notes, by worker process, up to where Y had read its stream when the session began to come
// (Session::missed): what is beyond what came with it (came_with, skip_once) and not beyond that it has missed, if it
// comes again. Streams keep their order, so with the first that is beyond, nothing more of them does.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "worker/broker/core.h"

namespace session {
struct Inbound;
}

namespace broker {

using Marks = std::map<uint64_t, uint64_t>;  // by worker process: up to which number

// The session begins to come: from now on what comes is held for it.
void note_known(Core& core, session::Inbound& inbound);
// It has come, with came_with and skip_once.
void note_missed(session::Session& session, const session::Inbound& inbound);
bool has_missed(const session::Session& session, const bus::Uid& identity);
// It has it now: that message, and what is in front of it.
void note_got(session::Session& session, const bus::Uid& identity);
// A message that is not known here: what was in front of it has come.
void note_new(session::Session& session, const bus::Uid& identity);
// What is known here the session has, too, but for what it has missed.
void add_known(std::unique_ptr<Marks>& has, const Marks& known, const session::Session& session, bool accepted);

}  // namespace broker
