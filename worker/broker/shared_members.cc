// SharedDispatch: members come and go, and what they had of their groups goes on.
#include <memory>
#include <utility>
#include <vector>

#include "worker/broker/interest.h"
#include "worker/broker/records.h"
#include "worker/broker/sessions.h"
#include "worker/broker/shared_dispatch.h"

namespace broker {

void SharedDispatch::on_member_online(session::Session& session) {
  for (const session::OwnShare& share : session.subscriptions.shares()) {
    router::SharedGroup* group = core_.tree.find_group(share.filter, share.group);
    if (group == nullptr) continue;
    group->set_live(session.id(), true);
    core_.interest->announce_group(*group);
    on_group_changed(*group);
  }
}

void SharedDispatch::on_member_offline(session::Session& session) {
  for (const session::OwnShare& share : session.subscriptions.shares()) {
    router::SharedGroup* group = core_.tree.find_group(share.filter, share.group);
    if (group == nullptr) continue;
    group->set_live(session.id(), false);
    group->was_live = group->live_anywhere();
    core_.interest->announce_group(*group);
  }
  redistribute(session, true, session.take_shared([this](const session::GroupName& name) {
    const router::SharedGroup* group = core_.tree.find_group(name.filter, name.name);
    return group != nullptr && group->live_anywhere();
  }));
}

void SharedDispatch::on_member_left(session::Session& session, std::string_view filter, std::string_view name) {
  const router::SharedGroup* group = core_.tree.find_group(filter, name);
  if (group == nullptr || group->empty()) return;
  redistribute(session, false, session.take_shared([&](const session::GroupName& of) {
    return of.filter == filter && of.name == name;
  }));
}

void SharedDispatch::on_member_ended(session::Session& session) {
  redistribute(session, false, session.take_shared([](const session::GroupName&) { return true; }));
}

void SharedDispatch::on_confirmed() {
  std::vector<router::SharedGroup*> groups;
  core_.tree.for_each_group([&](router::SharedGroup& group) { groups.push_back(&group); });
  for (router::SharedGroup* group : groups) {
    group->was_live = false;
    on_group_changed(*group);
  }
}

void SharedDispatch::on_group_changed(router::SharedGroup& group) {
  speak_again();
  offer_again();
  const bool became_live = group.live_anywhere() && !group.was_live;
  group.was_live = group.live_anywhere();
  if (!became_live || group.offline_members() == 0) return;
  std::vector<router::SubscriberId> offline;
  for (const router::SharedGroup::Member& member : group.members()) {
    if (!member.live) offline.push_back(member.subscriber);
  }
  for (const router::SubscriberId id : offline) {
    session::Session& session = *core_.sessions->by_id(id);
    if (session.inbound || session.connected() || session.unconfirmed != 0) continue;
    redistribute(session, true, session.take_shared([&](const session::GroupName& of) {
      return of.filter == group.filter() && of.name == group.name();
    }));
  }
}

// A QoS 2 message that is given back is placed under an identity of its own: workers that had it, before it went from
// one to the other with its session, are to take it again; but its publisher's worker, should it ask again after a
// death, is to hear that it was taken.
bus::MessageRef SharedDispatch::renumbered(const bus::MessageRef& message) {
  if (message->qos() != proto::QoS::exactly_once) return message;
  bus::Message::Fields fields = bus::fields_of(*message);
  fields.uid = core_.next_uid();
  fields.once = {};
  return bus::Message::make(fields);
}

void SharedDispatch::redistribute(const session::Session& from, bool stays, std::vector<session::Delivery> deliveries) {
  for (session::Delivery& delivery : deliveries) {
    // What is stored stays so until it is safe elsewhere.
    const auto erased = std::make_shared<bool>(false);
    const auto erase = [this, sid = from.sid, position = delivery.position, records = delivery.records, erased] {
      if (!std::exchange(*erased, true)) core_.records->erase_delivery(sid, position, records);
    };
    core_.tickets->begin(erase);
    Placement p;
    p.message = renumbered(delivery.message);
    p.group = delivery.group;
    p.stored = delivery.records != 0;
    if (p.stored && p.message->qos() == proto::QoS::at_least_once) {
      // The session may end before another has it: it is not the session's any more.
      write_record(p, core_.self.slot);
      erase();
    }
    Placement before = p;
    router::SharedGroup* group = core_.tree.find_group(delivery.group->filter, delivery.group->name);
    const bool placed = group != nullptr && place(*group, std::move(p));
    if (!placed) forget_record(before);
    if (!placed && stays) {
      delivery.position = 0;
      delivery.records = 0;
      core_.sessions->by_id(from.id())->keep(std::move(delivery));
    }
    if (!core_.tickets->waits_elsewhere()) erase();  // in the batch that gives it to another
    core_.tickets->end();
  }
}

}  // namespace broker
