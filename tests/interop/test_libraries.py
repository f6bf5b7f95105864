"""What every client library does with a broker, its two ends on different workers."""
import random

import pytest

from mm.client import Client
from mm.fixtures import each_qos
from mm.packets import Will
from mm_agents import KINDS, KINDS_5, Agent

BURST = 20  # in flight at once: what the broker takes from one client (MQTT.js does not heed its Receive Maximum)
FOREVER = {"clean": 0, "expiry": 3600}
LARGE = random.Random(5).randbytes(5_000_000)

each_kind = pytest.mark.parametrize("kind", KINDS, ids=str)
each_kind_5 = pytest.mark.parametrize("kind", KINDS_5, ids=str)
# A kill costs a process of the library: one kind of each program is enough.
each_program = pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if (kind.version == 5) == (kind.library in ("mqtt.js_5", "paho.c_async"))
             and kind.version != 3], ids=str)


def payloads(client, count):
    return [client.receive().payload for _ in range(count)]


def numbers(count):
    return [str(number).encode() for number in range(count)]


def expect_nothing(client, unique):
    """Whatever was on its way would have come before a message of its own."""
    client.subscribe(f"{unique}/marker", 1)
    client.publish(f"{unique}/marker", b"marker", 1)
    assert client.receive().payload == b"marker"


@each_kind
@each_qos
def test_messages_arrive_in_order(client, kind, qos, unique):
    sub, pub = client(kind).connect(), client(kind, worker=1).connect()
    sub.subscribe(f"{unique}/+/x", qos)
    pub.publish(f"{unique}/a/x", b"first", qos)
    pub.publish(f"{unique}/a/y", b"not for us", qos)
    pub.burst(f"{unique}/b/x", qos, BURST)
    first = sub.receive()
    assert (first.topic, first.payload, first.qos) == (f"{unique}/a/x", b"first", qos)
    assert not first.retain and not first.dup
    assert payloads(sub, BURST) == numbers(BURST)


@each_kind
def test_lower_one_of_both_qos(client, kind, unique):
    sub, pub = client(kind).connect(), client(kind, worker=1).connect()
    sub.subscribe(unique, 1)
    for qos in (0, 1, 2):
        pub.publish(unique, b"x", qos)
    assert sorted(sub.receive().qos for _ in range(3)) == [0, 1, 1]


@each_kind
def test_unsubscribe(client, kind, unique):
    sub, pub = client(kind).connect(), client(kind, worker=1).connect()
    sub.subscribe(f"{unique}/#", 1)
    pub.publish(f"{unique}/a", b"1", 1)
    assert sub.receive().payload == b"1"
    sub.unsubscribe(f"{unique}/#")
    pub.publish(f"{unique}/a", b"2", 1)
    expect_nothing(sub, unique)


@each_kind
def test_retained(client, kind, unique):
    pub = client(kind, worker=1).connect()
    pub.publish(f"{unique}/a", b"old", 1, retain=True)
    pub.publish(f"{unique}/a", b"new", 1, retain=True)
    pub.publish(f"{unique}/empty", b"gone", 1, retain=True)
    pub.publish(f"{unique}/empty", b"", 1, retain=True)
    sub = client(kind).connect()
    sub.subscribe(f"{unique}/#", 1)
    message = sub.receive()
    assert (message.topic, message.payload, message.retain) == (f"{unique}/a", b"new", True)
    pub.publish(f"{unique}/a", b"", 1, retain=True)
    message = sub.receive()
    assert (message.payload, message.retain) == (b"", False)
    expect_nothing(sub, unique)


@each_kind
@pytest.mark.parametrize("qos", [1, 2], ids=["qos1", "qos2"])
def test_session_is_resumed_on_another_worker(client, kind, qos, unique):
    sub = client(kind, client_id=unique).connect(**FOREVER)
    assert not sub.session_present
    sub.subscribe(f"{unique}/a", qos)
    sub.disconnect()
    pub = client(kind, worker=1).connect()
    pub.burst(f"{unique}/a", qos, BURST)
    again = client(kind, worker=2, client_id=unique).connect(**FOREVER)
    assert again.session_present is not False
    assert payloads(again, BURST) == numbers(BURST)
    pub.publish(f"{unique}/a", b"live", qos)
    assert again.receive().payload == b"live"
    again.disconnect()
    fresh = client(kind, worker=1, client_id=unique).connect(clean=1)
    assert not fresh.session_present
    fresh.disconnect()


@each_kind
def test_clean_session_ends_with_its_connection(client, kind, unique):
    first = client(kind, client_id=unique).connect(clean=1)
    first.subscribe(unique, 1)
    first.disconnect()
    second = client(kind, worker=1, client_id=unique).connect(clean=0)
    assert not second.session_present
    client(kind, worker=2).connect().publish(unique, b"x", 1)
    expect_nothing(second, unique)


@each_kind
def test_shared_subscription(client, kind, unique):
    members = [client(kind, worker=worker).connect() for worker in (0, 1, 2)]
    for member in members:
        member.subscribe(f"$share/g/{unique}", 1)
        member.events = members[0].events
    pub = client(kind, worker=1).connect()
    pub.burst(unique, 1, BURST)
    assert sorted(payloads(members[0], BURST)) == sorted(numbers(BURST))
    expect_nothing(members[2], unique)


@each_kind
def test_large_payload(client, kind, unique):
    sub, pub = client(kind).connect(), client(kind, worker=1).connect()
    sub.subscribe(unique, 1)
    pub.publish(unique, LARGE, 1)
    pub.publish(unique, b"behind it", 1)
    assert sub.receive().payload == LARGE
    assert sub.receive().payload == b"behind it"


@each_kind
def test_takeover(client, kind, unique):
    first = client(kind, client_id=unique).connect(**FOREVER)
    first.subscribe(f"{unique}/a", 1)
    second = client(kind, worker=1, client_id=unique).connect(**FOREVER)
    assert first.closed() == (0x8E if kind.version == 5 else 0)
    assert second.session_present is not False
    second.publish(f"{unique}/a", b"mine now", 1)
    assert second.receive().payload == b"mine now"


@each_program
def test_will_of_a_killed_client(client, broker, kind, unique):
    watcher = client(kind, worker=1).connect()
    watcher.subscribe(f"{unique}/will", 1)
    agent = Agent(kind)
    try:
        client(kind, agent=agent).connect(will_topic=f"{unique}/will", will_payload=b"gone".hex())
    finally:
        agent.kill()
    message = watcher.receive()
    assert (message.payload, message.qos, message.retain) == (b"gone", 1, False)


@each_kind
def test_no_will_after_disconnect(client, kind, unique):
    watcher = client(kind, worker=1).connect()
    watcher.subscribe(f"{unique}/will", 1)
    leaving = client(kind).connect(will_topic=f"{unique}/will", will_payload=b"gone".hex())
    leaving.disconnect()
    expect_nothing(watcher, unique)


# ---------------------------------------------------------------- MQTT 5


@each_kind_5
def test_properties_are_passed_on(client, kind, unique):
    sub, pub = client(kind).connect(), client(kind, worker=1).connect()
    sub.subscribe(f"{unique}/#", 1, identifier=7)
    users = ["k:1", "k:2", "l:3"]
    pub.publish(f"{unique}/request", b"?", 1, users=users, content_type="text/plain", response_topic=f"{unique}/reply",
                correlation_data="00ff10", expiry=100)
    got = sub.receive()
    assert 98 <= int(got.properties.pop("expiry")) <= 100
    assert got.properties == {"content_type": "text/plain", "response_topic": f"{unique}/reply",
                              "correlation_data": "00ff10", "user": users, "id": ["7"]}


@each_kind_5
def test_request_and_response(client, kind, unique):
    """The responder is on another worker, and answers where and with what the request says."""
    asking, answering = client(kind).connect(), client(kind, worker=1).connect()
    asking.subscribe(f"{unique}/reply", 1)
    answering.subscribe(f"{unique}/request", 1)
    asking.publish(f"{unique}/request", b"2+2", 1, response_topic=f"{unique}/reply", correlation_data="abcd")
    request = answering.receive()
    answering.publish(request.properties["response_topic"], b"4", 1,
                      correlation_data=request.properties["correlation_data"])
    reply = asking.receive()
    assert (reply.payload, reply.properties["correlation_data"]) == (b"4", "abcd")


@each_kind_5
def test_topic_aliases_of_the_publisher(client, kind, unique):
    sub, pub = client(kind).connect(), client(kind, worker=1).connect()
    sub.subscribe(f"{unique}/#", 1)
    pub.publish(f"{unique}/a", b"1", 1, alias=1)
    pub.publish("", b"2", 1, alias=1)
    pub.publish(f"{unique}/b", b"3", 1, alias=1)
    pub.publish("", b"4", 1, alias=1)
    topics = [sub.receive().topic.rsplit("/")[-1] for _ in range(4)]
    assert topics == ["a", "a", "b", "b"]


@each_kind_5
def test_topic_aliases_of_the_broker(client, kind, unique):
    sub, pub = client(kind).connect(alias_max=2), client(kind, worker=1).connect()
    sub.subscribe(f"{unique}/#", 1)
    topics = [f"{unique}/{name}" for name in "abcabcabc"]
    for topic in topics:
        pub.publish(topic, b"x", 1)
    assert [sub.receive().topic for _ in topics] == topics


@each_kind_5
def test_receive_maximum_of_one(client, kind, unique):
    sub, pub = client(kind).connect(receive_max=1), client(kind, worker=1).connect()
    sub.subscribe(unique, 2)
    pub.burst(unique, 2, BURST)
    assert payloads(sub, BURST) == numbers(BURST)


def test_expired_messages_are_not_delivered(client, broker, unique):
    """All libraries at once: this one takes its time."""
    def topic(kind):
        return f"{unique}/{KINDS.index(kind)}"

    for kind in KINDS_5:
        sub = client(kind, client_id=f"{unique}-{kind}").connect(**FOREVER)
        sub.subscribe(topic(kind), 1)
        sub.disconnect()
        pub = client(kind, worker=1).connect()
        pub.publish(topic(kind), b"short-lived", 1, expiry=1)
        pub.publish(topic(kind), b"long-lived", 1, expiry=1000)
    wait_for_a_will(broker, unique, delay=1)
    for kind in KINDS_5:
        again = client(kind, worker=1, client_id=f"{unique}-{kind}").connect(**FOREVER)
        assert again.receive().payload == b"long-lived"


def wait_for_a_will(broker, unique, delay):
    """One second and more on the broker's own clock: until a will with that delay has come."""
    with Client(broker.port()) as watcher, Client(broker.port()) as leaving:
        watcher.connect(f"{unique}-watcher").subscribe(f"{unique}/clock")
        leaving.connect(f"{unique}-leaving", will=Will(f"{unique}/clock", b"", will_delay_interval=delay),
                        properties={"session_expiry_interval": 60})
        leaving.abort()
        watcher.receive()


# ---------------------------------------------------------------- all together


@each_qos
def test_everybody_hears_everybody(client, qos, unique):
    """Every library and version publishes, every one receives all of it."""
    everybody = [client(kind, worker=number).connect() for number, kind in enumerate(KINDS)]
    for one in everybody:
        one.subscribe(f"{unique}/+", qos)
    for number, one in enumerate(everybody):
        one.start_burst(f"{unique}/{number}", qos, 5)
    for one in everybody:
        one.end_burst()
    for one in everybody:
        got = {}
        for _ in range(5 * len(KINDS)):
            message = one.receive()
            got.setdefault(message.topic, []).append(message.payload)
        assert got == {f"{unique}/{number}": numbers(5) for number in range(len(KINDS))}
