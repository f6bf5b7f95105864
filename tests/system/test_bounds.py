"""Bounds under the worst that a client or a worker can do to them: each test says what happens where the bound is missing.

See test_limits.py for the limits that are configured; here nothing is at a limit, or something else must wait there."""
import contextlib
import itertools
import os
import resource
import select
import selectors
import signal
from pathlib import Path

import pytest

from mm import packets
from mm.broker import MOSQUITTO, Broker, alive
from mm.client import Client
from mm.fixtures import Marker
from mm.packets import V311, Type

pytestmark = pytest.mark.skipif(MOSQUITTO, reason="these bounds are mqtt-master's")

EXPIRY = {"session_expiry_interval": 600}
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def broker():
    """Two workers, for the tests that need nothing else and leave nothing behind."""
    with Broker(workers=2) as running:
        yield running


@pytest.fixture
def fresh():
    """fresh(workers=…, mqtt={…}, …) -> a broker for one test."""
    with contextlib.ExitStack() as stack:
        yield lambda workers=2, **config: stack.enter_context(Broker(workers, config))


def processor_time(pid):
    """Nanoseconds that a process has computed."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def publish_all(pub, messages, **fields):
    """(topic, payload) at QoS 1, as many at a time as the broker takes from a client."""
    window = pub.connack.properties.get("receive_maximum", 65535)
    messages = iter(messages)
    while batch := list(itertools.islice(messages, window)):
        identifiers = [pub.packet_id() for _ in batch]
        pub.send(b"".join(packets.publish(topic, payload, 1, packet_id, version=pub.version, **fields)
                          for (topic, payload), packet_id in zip(batch, identifiers)))
        for packet_id in identifiers:
            pub.wait_for(Type.PUBACK, packet_id=packet_id)


# ---------------------------------------------------------------- one client's session


def test_a_first_message_that_is_never_acknowledged_does_not_slow_the_later_ones(fresh, connect, unique):
    """Else each acknowledged message leaves a hole in the list of those in flight, and every later one is looked for
    behind all the holes: the processor time of a message grows with their number."""
    broker = fresh(1, log_level="info", mqtt={"max_inflight": 200, "receive_maximum": 200})
    pid, pub = broker.pid_of(0), connect(at=broker)
    sub = connect(at=broker, properties={"receive_maximum": 101})
    sub.subscribe(unique, qos=1)
    pub.publish(unique, b"first", qos=1)
    first = sub.expect(Type.PUBLISH, payload=b"first")
    quarters = []
    for quarter in range(4):
        before = processor_time(pid)
        for _ in range(50):
            publish_all(pub, [(unique, b"x")] * 100)
            identifiers = [sub.expect(Type.PUBLISH, payload=b"x").packet_id for _ in range(100)]
            assert first.packet_id not in identifiers
            sub.send(b"".join(packets.acknowledge(Type.PUBACK, packet_id) for packet_id in identifiers))
        sub.expect_nothing()
        quarters.append(processor_time(pid) - before)
    assert quarters[3] < 3 * quarters[0], quarters
    sub.puback(first.packet_id)
    sub.expect_nothing()


@pytest.mark.parametrize("place", [0, 1], ids=["same-worker", "other-worker"])
def test_a_member_that_leaves_its_group_keeps_what_it_was_sent(broker, connect, place, unique):
    """Else UNSUBSCRIBE gives what the client has not acknowledged yet to another member: two clients work on it."""
    leaving = connect(properties={"receive_maximum": 1})
    other, pub = connect(worker=place), connect(worker=1)
    leaving.subscribe(f"$share/g/{unique}/shared", qos=1)
    leaving.subscribe(f"{unique}/own", qos=1)
    pub.publish(f"{unique}/shared", b"1", qos=1)
    message = leaving.expect(Type.PUBLISH, payload=b"1", qos=1)
    other.subscribe(f"$share/g/{unique}/shared", qos=1)
    leaving.unsubscribe(f"$share/g/{unique}/shared")
    pub.publish(f"{unique}/own", b"next", qos=1)
    Marker(pub, other).expect_nothing()
    leaving.expect_nothing()  # its Receive Maximum is used up: the message is still in flight
    leaving.puback(message.packet_id)
    leaving.receive(payload=b"next")
    pub.publish(f"{unique}/shared", b"2", qos=1)
    other.receive(payload=b"2", dup=False)
    Marker(pub, other).expect_nothing()
    leaving.expect_nothing()


# ---------------------------------------------------------------- retained messages


def test_a_replay_of_more_bytes_than_a_client_may_have_waiting(fresh, connect):
    """Else what is larger than the client's output is dropped: 64 MB, of which 4 may wait."""
    broker = fresh(mqtt={"max_queued_bytes": 4 * MEGABYTE})
    expected = {f"large/{number}" for number in range(64)}
    publish_all(connect(at=broker), ((topic, bytes(MEGABYTE)) for topic in expected), retain=True)
    for worker in (0, 1):
        sub = connect(at=broker, worker=worker)
        sub.subscribe("#")
        messages = [sub.receive(retain=True, qos=0) for _ in expected]
        assert {message.topic for message in messages} == expected
        assert {len(message.payload) for message in messages} == {MEGABYTE}
        sub.expect_nothing()
        sub.disconnect()


def test_a_replay_of_more_messages_than_a_client_may_have_queued(fresh, connect):
    """Else what does not fit into window and queue is dropped: 1000 messages, of which 120 do."""
    broker = fresh(mqtt={"max_queued_messages": 100})
    expected = {f"small/{number}" for number in range(1000)}
    publish_all(connect(at=broker), ((topic, b"x") for topic in expected), retain=True)
    for worker in (0, 1):
        sub = connect(at=broker, worker=worker)
        sub.subscribe("#", qos=1)
        assert {sub.receive(retain=True, qos=1).topic for _ in expected} == expected
        sub.expect_nothing()
        sub.disconnect()


def test_retained_values_published_while_their_home_is_being_replaced(fresh, connect):
    """Else what is acknowledged between a worker's death and the first turn of its replacement is kept by nobody: the
    topics whose home it is have no retained message afterwards."""
    broker = fresh(3)
    pub = connect(at=broker, worker=0)
    publish_all(pub, ((f"before/{number}", b"x") for number in range(100)), retain=True)
    dead = broker.pid_of(1)
    os.kill(dead, signal.SIGKILL)
    while alive(dead):
        pass
    back = Client(broker.port(1))
    back.send(packets.connect("back"))
    expected = {}
    for batch in itertools.count():
        values = {f"kept/{batch}/{number}": b"%d" % number for number in range(40)}
        publish_all(pub, values.items(), retain=True)
        expected |= values
        if select.select([back.socket], [], [], 0)[0]:  # the CONNACK of the replacement
            break
    assert broker.pid_of(1) != dead
    back.close()
    for worker in range(3):
        sub = connect(at=broker, worker=worker, timeout=30)
        sub.subscribe("kept/#", qos=1)
        messages = [sub.receive(retain=True, qos=1) for _ in expected]
        assert {message.topic: message.payload for message in messages} == expected
        Marker(pub, sub).expect_nothing()


# ---------------------------------------------------------------- a worker's turn, memory and descriptors


@contextlib.contextmanager
def open_files(count):
    """As many open files for this process and those it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"needs {count} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("place", [0, 1], ids=["same-worker", "other-worker"])
def test_one_write_of_a_thousand_messages_to_a_thousand_subscribers(place):
    """Else all of it is one turn of the loop: nobody else is answered meanwhile, and when it takes longer than
    stall_timeout the worker is killed with all its clients."""
    subscribers, topic = 1000, "fan/out/" + 52 * "x"
    message = packets.publish(topic, version=V311)
    count = 65536 // len(message)
    with open_files(4096), contextlib.ExitStack() as stack:
        broker = stack.enter_context(Broker(2, {"stall_timeout": 2, "log_level": "info"}))
        pids = broker.worker_pids()
        selector = stack.enter_context(selectors.DefaultSelector())
        left = {}
        for number in range(subscribers):
            client = stack.enter_context(Client(broker.port(0), V311)).connect(f"sub{number}")
            client.subscribe(topic)
            left[client.socket] = count * len(message)
            selector.register(client.socket, selectors.EVENT_READ)
        pub = stack.enter_context(Client(broker.port(place), V311)).connect("pub")
        other = stack.enter_context(Client(broker.port(0), V311)).connect("other")
        selector.register(other.socket, selectors.EVENT_READ)
        pub.send(message * count)
        other.send(packets.PINGREQ)
        answers = 0
        while any(left.values()):
            ready = selector.select(10)
            assert ready, f"nothing comes any more, {sum(left.values())} bytes are missing"
            for key, _ in ready:
                if key.fileobj is other.socket:
                    other.expect(Type.PINGRESP)
                    other.send(packets.PINGREQ)
                    answers += 1
                else:
                    data = key.fileobj.recv(1 << 16)
                    assert data, "a subscriber was closed"
                    left[key.fileobj] -= len(data)
        assert set(left.values()) == {0}
        assert answers >= 5, f"one client made another wait: {answers} answers meanwhile"
        assert broker.worker_pids() == pids


def test_a_group_whose_only_member_is_on_a_stopped_worker_costs_bounded_memory(fresh, connect):
    """Else everything published to the group waits for that worker: 200 MB."""
    broker = fresh(stall_timeout=30)
    member, pub = connect(at=broker, worker=1, timeout=30), connect(at=broker, worker=0, timeout=30)
    member.subscribe("$share/g/t", qos=1)
    pub.publish("t", b"begin", qos=1)
    member.receive(payload=b"begin")
    before, pid = broker.memory_of(0), broker.pid_of(1)
    batch = packets.publish("t", bytes(10_000)) * 100
    os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(200):
            pub.send(batch)
        pub.expect_nothing()  # all of it is handled
        assert broker.memory_of(0) - before < 150 * MEGABYTE
    finally:
        os.kill(pid, signal.SIGCONT)
    pub.publish("t", b"end", qos=1)
    while (message := member.receive()).payload != b"end":
        assert message.qos == 0 and len(message.payload) == 10_000
    assert message.qos == 1 and broker.pid_of(1) == pid
    member.expect_nothing()


def test_a_large_payload_when_no_descriptor_is_left_for_it(fresh, connect):
    """A large packet has a descriptor, by which it is handed to the other workers. Some thousand that are kept use up
    all that there may be; else the next large one could not be handed over and the bus stood still behind it."""
    broker = fresh(mqtt={"max_queued_bytes": 512 * MEGABYTE})
    absent = connect("absent", at=broker, properties=EXPIRY)
    absent.subscribe("kept/#", qos=1)
    absent.disconnect()
    pub, sub = connect(at=broker, timeout=30), connect(at=broker, worker=1, timeout=30)
    sub.subscribe("large", "small", qos=1)
    publish_all(pub, ((f"kept/{number}", bytes(65536)) for number in range(2200)), retain=True)
    for number in range(5):
        payload = bytes([number]) * 300_000
        pub.publish("large", payload, qos=1)
        sub.receive(topic="large", payload=payload)
        pub.publish("small", b"x", qos=1)
        sub.receive(topic="small")
    connect("absent", at=broker).disconnect()
