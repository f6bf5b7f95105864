"""Many clients on many workers do random things; an oracle knows what each of them must have seen.

The oracle is exact because the run is divided into rounds. In a round every live client does a few random things:
connect (to any worker, often stealing its own session from another connection), subscribe, unsubscribe, publish, break
or end its connection. All waits for its acknowledgement, so at any time the oracle knows who is subscribed to what. For
a message it writes down, for each session, at which QoS it is due, or that it may come (QoS 0 to a client that is away).
At the end of a round everybody catches up; then

- every message due at QoS 1 and 2 is there, those at QoS 2 once, those at QoS 1 at least once;
- nothing is there that was not due (nobody knows when a QoS 0 message has arrived everywhere, so one of this round may
  still come to a subscription made after it);
- the messages of one publisher, topic and QoS are in order.

A failing run prints its seed and its last steps: MM_SEED=… repeats it; MM_MODEL_SEEDS=N runs N seeds.
"""
import collections
import contextlib
import os
import random

from mm import packets
from mm.client import LENIENT, Client, Closed
from mm.packets import V5, V31, V311, Reason, Type
from mm.topics import matches

TOPICS = ["a", "a/b", "a/b/c", "b", "b/c", "/", "a//b", "$x/a"]
WILDCARDS = ["#", "+", "a/#", "+/b", "a/+", "+/+", "a/+/c", "+/#", "$x/#"]
FILTERS = TOPICS if LENIENT else TOPICS + WILDCARDS  # Mosquitto 2.0.11 may take the lower QoS where filters overlap
CLIENTS, ROUNDS, STEPS = 8, 12, 30
EXPIRY = {"session_expiry_interval": 600}


class Person:
    """A client identifier: what the broker should hold for it, what is due to it, what it got."""

    def __init__(self, name, version):
        self.name, self.version = name, version
        self.client = None
        self.durable = self.exists = False
        self.subscriptions = {}
        self.due = collections.Counter()       # (message, QoS) that must come
        self.possible = set()                  # messages at QoS 0 that may come, or not
        self.got = []                          # (message, QoS, topic) in the order they came, this round
        self.had = set()                       # messages, in all rounds
        self.had_at_qos_2 = set()
        self.connections = 0
        self.unreleased = set()                # our half of QoS 2

    def forget(self):
        """The session is gone, and what had not arrived with it."""
        self.subscriptions.clear()
        self.possible.update(message for message, _ in self.due)
        self.due.clear()
        self.unreleased.clear()
        self.exists = False

    def handle(self, packet):
        client = self.client
        if packet.type == Type.PUBREL:
            self.unreleased.discard(packet.packet_id)
            client.pubcomp(packet.packet_id)
        elif packet.type == Type.PUBLISH:
            if packet.qos == 2 and packet.packet_id in self.unreleased:
                client.pubrec(packet.packet_id)
                return
            self.got.append((packet.payload, packet.qos, packet.topic))
            if packet.qos == 1:
                client.puback(packet.packet_id)
            elif packet.qos == 2:
                self.unreleased.add(packet.packet_id)
                client.pubrec(packet.packet_id)
        else:
            raise AssertionError(f"{self.name} got {packet}")

    def wait_for(self, type, packet_id=None):
        """The answer to what this client sent; what comes before it is handled."""
        while True:
            packet = self.client.next()
            if packet.type == type and (packet_id is None or packet.packet_id == packet_id):
                return packet
            self.handle(packet)


class World:
    # Who publishes through several hosts is promised an order within a connection, and a repeat after a crash may come
    # at any time. On one host it is simpler, and more is asked.
    anywhere = False

    def __init__(self, broker, seed):
        self.broker, self.random = broker, random.Random(seed)
        self.people = [Person(f"model-{seed}-{number}", (V5, V311, V5, V31)[number % 4]) for number in range(CLIENTS)]
        self.prefix = f"model{seed}"
        self.published = 0
        self.streams = {}                      # message -> what it is in order with
        self.in_motion = []                    # (message, topic) of this round, which may reach who subscribes later
        self.log = []

    def note(self, *words):
        self.log.append(" ".join(map(str, words)))

    # ------------------------------------------------------------ where

    def place(self):
        """Where to connect: a worker."""
        return self.random.randrange(self.broker.workers)

    def open(self, person, place, **fields):
        person.connections += 1
        return Client(self.broker.port(place), person.version).connect(person.name, **fields)

    # ------------------------------------------------------------ steps

    def connect(self, person):
        clean, place = self.random.random() < 0.2, self.place()
        durable = self.random.random() < 0.8
        if person.version != V5:
            clean = not durable
        self.note(person.name, "connects to", place, "clean" * clean, "durable" * durable)
        old, client = person.client, self.open(person, place, clean=clean, properties=EXPIRY if durable else None)
        resumed = person.exists and person.durable and not clean
        if person.version != V31:
            assert client.connack.session_present == resumed, f"{person.name}: expected session {resumed}"
        if not resumed:
            person.forget()
        if old:  # what it still had been sent was received by nobody: the session sends it again
            old.expect_closed(Reason.SESSION_TAKEN_OVER)
            old.close()
        person.client, person.durable, person.exists = client, durable, True

    def leave(self, person):
        polite = self.random.random() < 0.5
        self.note(person.name, "disconnects" if polite else "breaks its connection")
        if polite:
            self.goodbye(person)
        else:
            person.client.abort()
        person.client = None
        if not person.durable:
            person.forget()

    def goodbye(self, person):
        """Read what comes until the broker closes; it may have sent more before it read the DISCONNECT."""
        person.client.send(packets.disconnect())
        for packet in person.client.expect_closed():
            if packet.type == Type.PUBLISH and packet.qos == 0:
                person.got.append((packet.payload, 0, packet.topic))
        person.client.close()

    def subscribe(self, person):
        name, qos = self.random.choice(FILTERS), self.random.randrange(3)
        self.note(person.name, "subscribes to", name, "at QoS", qos)
        full = self.full(name)
        packet_id = person.client.packet_id()
        person.client.send(packets.subscribe(packet_id, [(full, qos)], person.version))
        assert person.wait_for(Type.SUBACK, packet_id).reasons == [qos]
        person.subscriptions[full] = qos
        person.possible.update(message for message, topic in self.in_motion if matches(full, topic))

    def unsubscribe(self, person):
        if person.subscriptions:
            full = self.random.choice(sorted(person.subscriptions))
            self.note(person.name, "unsubscribes from", full)
            packet_id = person.client.packet_id()
            person.client.send(packets.unsubscribe(packet_id, [full], person.version))
            person.wait_for(Type.UNSUBACK, packet_id)
            del person.subscriptions[full]

    def publish(self, person):
        topic, qos = self.full(self.random.choice(TOPICS)), self.random.randrange(3)
        self.published += 1
        message = f"{person.name} {self.published}".encode()
        self.streams[message] = (person.name, person.connections if self.anywhere else 0)
        self.note(person.name, "publishes", self.published, "to", topic, "at QoS", qos)
        for other in self.people:
            self.expect(other, message, topic, qos)
        packet_id = person.client.send_publish(topic, message, qos)
        # Between hosts what is acknowledged may wait in an inbox, and find who subscribes there meanwhile.
        if qos == 0 or self.anywhere:
            self.in_motion.append((message, topic))
        if qos == 1:
            person.wait_for(Type.PUBACK, packet_id)
        elif qos == 2:
            person.wait_for(Type.PUBREC, packet_id)
            person.client.pubrel(packet_id)
            person.wait_for(Type.PUBCOMP, packet_id)

    def expect(self, other, message, topic, qos):
        granted = [granted for name, granted in other.subscriptions.items() if matches(name, topic)]
        if not granted:
            return
        if min(max(granted), qos) == 0:
            other.possible.add(message)
        else:
            other.due[message, min(max(granted), qos)] += 1

    def full(self, name):
        return f"$x/{self.prefix}/{name[3:]}" if name.startswith("$x/") else f"{self.prefix}/{name}"

    # ------------------------------------------------------------ rounds

    def round(self):
        for _ in range(STEPS):
            self.before_step()
            person = self.random.choice(self.people)
            if person.client is None:
                self.connect(person)
            else:
                step = self.random.choices([self.connect, self.leave, self.subscribe, self.unsubscribe, self.publish],
                                           [1, 1, 3, 1, 8])[0]
                step(person)
        self.catch_up()
        self.in_motion.clear()

    def before_step(self):
        """Nobody waits for anything."""

    def catch_up(self):
        """Everybody connects again if it has a session, and reads until its last due message is there."""
        for person in self.people:
            if person.client is None and person.exists:
                self.note(person.name, "comes back")
                person.client = self.open(person, self.place(), clean=False, properties=EXPIRY)
                person.durable = True
            if person.client:
                while missing := [key for key in person.due if key not in {(m, q) for m, q, _ in person.got}]:
                    try:
                        person.handle(person.client.next())
                    except (AssertionError, Closed) as error:
                        raise AssertionError(f"{person.name} never got {missing[:5]}: {error}") from None
                for packet in person.client.fence():
                    person.handle(packet)
                while person.unreleased:
                    person.handle(person.client.next())
            self.judge(person)

    def judge(self, person):
        allowed = person.possible | {message for message, _ in person.due}
        for message, qos, _ in person.got:
            assert message in allowed, f"{person.name} got {message} at QoS {qos}, which was not due to it"
            if qos == 2:
                assert message not in person.had_at_qos_2, f"{person.name} got {message} twice at QoS 2"
                person.had_at_qos_2.add(message)
        in_order = collections.defaultdict(list)
        for message, qos, topic in person.got:
            stream, number = (*self.streams[message], qos, topic), int(message.split()[1])
            if number not in in_order[stream] and not (self.anywhere and message in person.had):
                in_order[stream].append(number)
        for stream, numbers in in_order.items():
            assert numbers == sorted(numbers), f"{person.name} got {stream} in the order {numbers}"
        person.due.clear()
        person.possible.update(message for message, _, _ in person.got)
        person.had.update(message for message, _, _ in person.got)
        person.got.clear()

    def close(self):
        for person in self.people:
            if person.client:
                person.client.close()

    @contextlib.contextmanager
    def told(self, seed):
        """What a failure says of the run, whose connections end with it."""
        try:
            yield self
        except BaseException:
            print(f"MM_SEED={seed}; the last steps:\n" + "\n".join(self.log[-40:]))
            raise
        finally:
            self.close()

    def run(self, rounds):
        for _ in range(int(os.environ.get("MM_MODEL_ROUNDS", rounds))):
            self.round()
