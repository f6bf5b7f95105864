"""Bounds: whatever a client can make grow has a limit, what happens there is stated, and others do not feel it."""
import contextlib
import select
import time

import pytest

from mm import packets
from mm.broker import MOSQUITTO, Broker
from mm.client import Client, Closed
from mm.fixtures import Marker, each_current_version
from mm.packets import V5, V311, Reason, Type

pytestmark = pytest.mark.skipif(MOSQUITTO, reason="these limits are mqtt-master's")

EXPIRY = {"session_expiry_interval": 600}


@pytest.fixture(scope="module")
def broker(broker_with):
    """Small limits for everything."""
    return broker_with(workers=2, mqtt={
        "max_packet_size": 100_000, "max_topic_levels": 4, "max_topic_length": 50, "max_subscriptions": 5,
        "max_queued_messages": 10, "max_queued_bytes": 1_000_000, "connect_timeout": 1})


def refusal(client):
    """The reason for which a packet is refused: in its acknowledgement or in DISCONNECT; None for a mere close."""
    try:
        answer = client.next()
    except Closed:
        return None
    return answer.reasons[0] if hasattr(answer, "reasons") else answer.reason


# ---------------------------------------------------------------- connections


def test_connections_of_a_worker(connect):
    """The one too many is closed; when another leaves there is room again."""
    with Broker(config={"workers": {"w0": {"context": {"max_connections": 3}}}}) as small:
        clients = [connect(at=small) for _ in range(3)]
        with Client(small.port()) as refused:
            refused.send(packets.connect("refused"))
            for packet in refused.expect_closed():
                assert packet.reason >= 0x80
        clients.pop().disconnect()
        connect_when_there_is_room(small).close()
        for client in clients:
            client.expect_nothing()


def connect_when_there_is_room(broker, timeout=5):
    deadline = time.monotonic() + timeout
    while True:
        client = Client(broker.port())
        with contextlib.suppress(AssertionError):
            return client.connect("again")
        client.close()
        assert time.monotonic() < deadline, "no room"


def test_a_connection_that_sends_no_connect_is_closed(open_socket):
    """Silent, or one byte of a CONNECT, or trickling one so slowly that it never ends."""
    silent, begun, trickling = open_socket(), open_socket(), open_socket(worker=1)
    begun.send(b"\x10")
    connect = packets.connect("x" * 1000)
    begin, at = time.monotonic(), 0
    while not select.select([trickling.socket], [], [], 0.2)[0]:
        trickling.send(connect[at:at + 1])
        at += 1
        assert time.monotonic() - begin < 5
    for client in (silent, begun, trickling):
        assert client.expect_closed() == []


def test_a_connect_that_is_too_large_is_refused(open_socket):
    """As soon as its header says how large: nobody who is not connected makes the broker wait for megabytes."""
    client = open_socket()
    client.send(b"\x10" + packets.varint(200_000_000) + b"\x00\x04MQTT\x05")
    for packet in client.expect_closed():
        assert packet.reason == Reason.PACKET_TOO_LARGE


# ---------------------------------------------------------------- packets and topics


@each_current_version
def test_packet_size(connect, version, unique):
    client = connect(version=version)
    client.publish(unique, bytes(99_900), qos=1)
    client.send(b"\x30" + packets.varint(100_000))
    client.expect_closed(Reason.PACKET_TOO_LARGE)


@each_current_version
@pytest.mark.parametrize("topic", ["a/b/c/d/e", "a////", "x" * 51], ids=["levels", "empty-levels", "length"])
def test_topics_beyond_the_limit(connect, version, topic):
    """Refused in PUBLISH and in SUBSCRIBE, with a reason where there is one."""
    pub, sub = connect(version=version), connect(version=version)
    pub.send_publish(topic, b"x", qos=1)
    reason = refusal(pub)
    assert reason is None if version == V311 else reason == Reason.TOPIC_NAME_INVALID
    sub.send(packets.subscribe(1, [(topic, 0)], version))
    reason = refusal(sub)
    assert reason in ((None, 0x80) if version == V311 else (Reason.TOPIC_FILTER_INVALID, Reason.QUOTA_EXCEEDED))


@each_current_version
@pytest.mark.parametrize("topic", ["a/b/c/d", "///", "x" * 50], ids=["levels", "empty-levels", "length"])
def test_topics_at_the_limit(connect, version, topic):
    sub, pub = connect(version=version), connect(version=version, worker=1)
    sub.subscribe(topic, qos=1)
    pub.publish(topic, b"x", qos=1)
    sub.receive(topic=topic)


@each_current_version
def test_subscriptions_of_a_client(connect, version, unique):
    """The sixth is refused; replacing one is not a new one; after UNSUBSCRIBE there is room."""
    client = connect(version=version)
    names = [f"{unique}/{number}" for number in range(6)]
    client.subscribe(*names[:5], qos=1)
    client.subscribe(names[0], qos=0)
    client.subscribe(names[5], granted=[Reason.QUOTA_EXCEEDED if version == V5 else 0x80])
    client.unsubscribe(names[1])
    client.subscribe(names[5])
    connect(worker=1).subscribe(*names[:5])


# ---------------------------------------------------------------- queues


def offline(connect, unique, at=None):
    client = connect(unique, at=at, properties=EXPIRY)
    client.subscribe(unique, qos=1)
    client.disconnect()


def queued(connect, unique, pub, at=None):
    client = connect(unique, at=at, clean=False, properties=EXPIRY)
    return [int(message.payload[:10]) for message in Marker(pub, client).flush()]


@pytest.mark.parametrize("policy, expected", [("drop_new", range(10)), ("drop_old", range(20, 30))])
@pytest.mark.parametrize("worker", [0, 1])
def test_messages_queued_for_an_absent_client(broker_with, connect, policy, expected, worker, unique):
    small = broker_with(workers=2, mqtt={"max_queued_messages": 10, "queue_full": policy})
    offline(connect, unique, small)
    pub = connect(at=small, worker=worker)
    for number in range(30):
        pub.publish(unique, str(number).encode(), qos=1)
    assert queued(connect, unique, pub, small) == list(expected)


def test_bytes_queued_for_an_absent_client(broker_with, connect, unique):
    small = broker_with(workers=2, mqtt={"max_queued_bytes": 100_000})
    offline(connect, unique, small)
    pub = connect(at=small)
    for number in range(30):
        pub.publish(unique, f"{number:<10}".encode() + bytes(10_000), qos=1)
    assert 8 <= len(queued(connect, unique, pub, small)) <= 11


def test_a_publisher_is_told_when_nobody_could_take_its_message(connect, unique):
    """Quota exceeded, for MQTT 5, and only if no other session took it."""
    offline(connect, unique)
    pub = connect()
    for _ in range(10):
        assert pub.publish(unique, b"0", qos=1).reason == 0
    assert pub.publish(unique, b"0", qos=1).reason == Reason.QUOTA_EXCEEDED
    taker = connect()
    taker.subscribe(unique, qos=1)
    assert pub.publish(unique, b"0", qos=1).reason == 0
    taker.receive()


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("worker", [0, 1], ids=["same-worker", "other-worker"])
def test_a_subscriber_that_does_not_read_costs_bounded_memory(broker, connect, qos, worker, unique):
    """100 MB for it, of which 1 MB is kept; who reads gets everything meanwhile."""
    stuck, quick = connect(receive_buffer=4096), connect()
    stuck.subscribe(unique, qos=qos)
    quick.subscribe(unique, qos=qos)
    pub = connect(worker=worker)
    before = broker.memory_of(0)
    for number in range(2000):
        pub.publish(unique, b"%010d" % number + bytes(50_000), qos=qos)
        assert int(quick.receive().payload[:10]) == number
    assert broker.memory_of(0) - before < 30_000_000
    stuck.close()


def test_a_queue_that_is_full_can_disconnect_its_client(broker_with, connect, unique):
    small = broker_with(workers=2, mqtt={"max_queued_messages": 10, "queue_full": "disconnect"})
    stuck, pub = connect(at=small), connect(at=small)
    stuck.subscribe(unique, qos=1)
    for number in range(60):
        pub.publish(unique, str(number).encode(), qos=1)
    seen = stuck.expect_closed(Reason.QUOTA_EXCEEDED)
    assert 20 <= len(seen) <= 32


def test_sessions_and_retained_messages_of_a_host(broker_with, connect, unique):
    """At the bound a new session is refused and a new topic is not retained; what is there stays and can change."""
    small = broker_with(workers=1, mqtt={"max_sessions": 3, "max_retained": 2})
    clients = [connect(at=small) for _ in range(3)]
    with Client(small.port()) as refused:
        refused.send(packets.connect(f"{unique}-refused"))
        seen = refused.expect_closed()
        assert [packet.reason for packet in seen] in ([Reason.QUOTA_EXCEEDED], [Reason.SERVER_BUSY],
                                                      [Reason.SERVER_UNAVAILABLE])
    pub, sub = clients[:2]
    for name, payload in (("a", b"1"), ("b", b"1"), ("c", b"1"), ("a", b"2")):
        pub.publish(f"{unique}/{name}", payload, qos=1, retain=True)
    sub.subscribe(f"{unique}/+")
    kept = {(message.topic, message.payload) for message in Marker(pub, sub).flush()}
    assert kept == {(f"{unique}/a", b"2"), (f"{unique}/b", b"1")}


@pytest.mark.parametrize("workers", [2, 4])
def test_a_full_home_refuses_publishers_of_every_worker(broker_with, connect, unique, workers):
    """Each worker is the home of its share of the topics. No room there: 0x97, unless a subscriber took the message."""
    small = broker_with(workers=workers, mqtt={"max_retained": 2 * workers})
    names = [f"{unique}/{number}" for number in range(16 * workers)]
    pubs = [connect(at=small, worker=worker) for worker in range(workers)]
    old, sub = connect(at=small, version=V311), connect(at=small)

    def kept_of(pub, qos):
        answers = {name: pub.publish(name, b"x", qos=qos, retain=True).reason for name in names}
        assert set(answers.values()) <= {Reason.QUOTA_EXCEEDED, Reason.NO_MATCHING_SUBSCRIBERS}
        return {name for name, reason in answers.items() if reason != Reason.QUOTA_EXCEEDED}

    kept = kept_of(pubs[0], 1)
    assert len(kept) == 2 * workers
    for pub in pubs:
        assert kept_of(pub, 1) == kept_of(pub, 2) == kept
    for qos in (1, 2):
        assert {old.publish(name, b"x", qos=qos, retain=True).reason for name in names} == {Reason.SUCCESS}
    sub.subscribe(f"{unique}/+")
    assert {message.topic for message in Marker(old, sub).flush()} == kept
    for pub in pubs:
        assert {pub.publish(name, b"x", qos=1, retain=True).reason for name in names} == {Reason.SUCCESS}
    for name in kept:
        pubs[0].publish(name, retain=True)


# ---------------------------------------------------------------- nothing grows


def test_a_client_that_sends_and_never_reads_its_answers(broker, connect, unique):
    """A million PINGREQs: their answers are bounded too, by not reading on."""
    rude = connect(receive_buffer=4096)
    before = broker.memory_of(0)
    rude.socket.settimeout(0.5)
    with contextlib.suppress(OSError):
        for _ in range(100):
            rude.socket.sendall(packets.PINGREQ * 10_000)
    assert broker.memory_of(0) - before < 30_000_000
    connect().expect_nothing()


def test_many_connections_that_come_and_go_leave_nothing(broker, connect, open_socket, unique):
    for round in range(3):
        for number in range(300):
            client = Client(broker.port(number))
            client.connect(f"{unique}-{number}", will=packets.Will(unique, b"x"))
            client.send(packets.subscribe(1, [(f"{unique}/{number}", 1)]))
            client.expect(Type.SUBACK)
            client.abort()
        connect().expect_nothing()
        if round == 0:
            before = broker.memory_of(0) + broker.memory_of(1)
    assert broker.memory_of(0) + broker.memory_of(1) - before < 8_000_000
