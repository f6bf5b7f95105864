#include "worker/router/topic_nodes.h"

#include "proto/topic.h"

namespace router {

// --- nodes ---

NodeId TopicNodes::child(NodeId parent, std::string_view level) const {
  if (level == "+") return nodes[parent].plus;
  if (level == "#") return nodes[parent].hash;
  return nodes[parent].literals == 0 ? kNoChild : literal_child(parent, level, hasher(level));
}

NodeId TopicNodes::lookup(std::string_view filter) const {
  proto::LevelReader reader(filter);
  NodeId id = kRoot;
  for (std::string_view level; reader.next(level);) {
    id = child(id, level);
    if (id == kNoChild) return kNoNode;
  }
  return id;
}

NodeId TopicNodes::reach(std::string_view filter) {
  proto::LevelReader reader(filter);
  NodeId id = kRoot;
  for (std::string_view level; reader.next(level);) {
    const NodeId existing = child(id, level);
    id = existing != kNoChild ? existing : make_child(id, level);
  }
  return id;
}

NodeId TopicNodes::make_child(NodeId parent, std::string_view level) {
  const NodeId id = nodes.take();
  TopicNode& node = nodes[id];
  node.parent = parent;
  node.level.set(level);
  heap_bytes += node.level.heap_bytes();
  if (level == "+") {
    nodes[parent].plus = id;
  } else if (level == "#") {
    nodes[parent].hash = id;
  } else {
    table.insert(child_key(parent, hasher(level)), id);
    ++nodes[parent].literals;
  }
  return id;
}

void TopicNodes::prune(NodeId id) {
  while (id != kRoot && nodes[id].leaf() && nodes[id].bare()) {
    TopicNode& node = nodes[id];
    const NodeId above = node.parent;
    TopicNode& parent = nodes[above];
    if (parent.plus == id) {
      parent.plus = kNoChild;
    } else if (parent.hash == id) {
      parent.hash = kNoChild;
    } else {
      table.erase(child_key(above, hasher(node.level.view())), id);
      --parent.literals;
    }
    heap_bytes -= node.level.heap_bytes();
    node.level.clear();
    nodes.give(id);
    id = above;
  }
}

// --- entries ---

uint32_t TopicNodes::find_peer(NodeId id, uint32_t peer) const {
  uint32_t e = nodes[id].others;
  while (e != kNoEntry && !entries[e].is_group && entries[e].peer != peer) e = entries[e].next;
  return e == kNoEntry || entries[e].is_group ? kNoEntry : e;
}

uint32_t TopicNodes::add_peer(NodeId id, uint32_t peer) {
  const uint32_t e = entries.take();
  TopicEntry& entry = entries[e];
  entry.node = id;
  entry.next = nodes[id].others;
  nodes[id].others = e;
  entry.peer = static_cast<uint8_t>(peer);
  uint32_t& first = first_of_peer[peer];
  if (first != kNoEntry) entries[first].previous_of_peer = e;
  entry.parent = first;
  first = e;
  return e;
}

uint32_t& TopicNodes::first_group(NodeId id) {
  uint32_t* at = &nodes[id].others;
  while (*at != kNoEntry && !entries[*at].is_group) at = &entries[*at].next;
  return *at;
}

uint32_t TopicNodes::add_group(NodeId id, uint32_t group) {
  const uint32_t e = entries.take();
  uint32_t& first = first_group(id);
  if (first != kNoEntry) entries[first].parent = e;
  TopicEntry& entry = entries[e];
  entry.node = id;
  entry.next = first;
  entry.is_group = true;
  entry.group = group;
  first = e;
  return e;
}

void TopicNodes::erase_group(uint32_t entry) {
  const TopicEntry gone = entries[entry];
  (gone.parent == kNoEntry ? first_group(gone.node) : entries[gone.parent].next) = gone.next;
  if (gone.next != kNoEntry) entries[gone.next].parent = gone.parent;
  entries[entry] = TopicEntry{};
  entries.give(entry);
}

void TopicNodes::erase_peer(uint32_t entry) {
  const TopicEntry gone = entries[entry];
  uint32_t* at = &nodes[gone.node].others;
  while (*at != entry) at = &entries[*at].next;
  *at = gone.next;
  const uint32_t previous = gone.previous_of_peer;
  (previous == kNoEntry ? first_of_peer[gone.peer] : entries[previous].parent) = gone.parent;
  if (gone.parent != kNoEntry) entries[gone.parent].previous_of_peer = previous;
  entries[entry] = TopicEntry{};
  entries.give(entry);
  prune(gone.node);
}

}  // namespace router
