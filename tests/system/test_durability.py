"""What outlives its process (contract C6, sections 5 and 6 of what the broker promises): sessions with everything in them,
retained messages and wills, over the death of workers, of the master, and over a stop. Random kills under load are the
business of tests/crash; here each promise stands alone."""
import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from mm import packets
from mm.broker import MOSQUITTO, Broker, binary, eventually
from mm.client import Client
from mm.fixtures import Marker
from mm.packets import V5, V31, V311, Type

pytestmark = pytest.mark.skipif(MOSQUITTO, reason="about processes and stores of our own")

EXPIRY = {"session_expiry_interval": 600}
ALWAYS = {"store": {"sync": "always"}}
SLOW = 25.0  # what a client waits while a worker is replaced


# ---------------------------------------------------------------- the ends of processes


def workers_killed(broker, pause=0.0):
    broker.kill_workers()
    time.sleep(pause)


def workers_killed_twice(broker, pause=0.0):
    """The second time while they load what there is."""
    broker.kill_workers()
    for pid in broker.worker_pids().values():
        os.kill(pid, signal.SIGKILL)
    for delay in (0.0, 0.01, 0.05):
        time.sleep(delay)
        for pid in broker.worker_pids().values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    broker.all_ready()
    time.sleep(pause)


def master_killed(broker, pause=0.0):
    broker.kill_master()
    time.sleep(pause)
    broker.start()


def stopped(broker, pause=0.0):
    broker.stop()
    time.sleep(pause)
    broker.start()


ENDS = {"killed": workers_killed, "twice": workers_killed_twice, "master": master_killed, "stop": stopped}


def ends(*cases):
    """Parameters `broker` and `end` from words like "2 killed" or "2 killed always"."""
    values = []
    for case in cases:
        workers, end, *always = case.split()
        values.append(pytest.param((int(workers), ALWAYS if always else {}), ENDS[end], id=case.replace(" ", "-")))
    return pytest.mark.parametrize("broker, end", values, indirect=["broker"])


each_end = ends("1 killed", "2 killed", "4 killed", "4 master", "2 stop", "2 twice", "2 killed always")
few_ends = ends("2 killed", "2 master", "2 stop")
each_kill = ends("1 killed", "2 killed", "4 killed", "4 master")


@pytest.fixture
def broker(request):
    """A broker for one test. It is left with a clean stop, which must be one whatever came before."""
    workers, config = getattr(request, "param", (2, {}))
    with Broker(workers, config) as running:
        yield running


@pytest.fixture
def resume(connect):
    """resume(client_id, …): connects to a session that must be there."""
    def make(name, worker=0, version=V5, present=True, **fields):
        client = connect(name, worker=worker, version=version, clean=False, timeout=SLOW,
                         properties=fields.pop("properties", EXPIRY if version == V5 else None), **fields)
        if version != V31:
            assert client.connack.session_present == present, f"session present is {client.connack.session_present}"
        return client
    return make


@pytest.fixture
def offline(connect):
    """offline(client_id, filter, …): makes a durable session with a subscription, and goes."""
    def make(name, *filters, worker=0, version=V5, qos=2):
        client = connect(name, worker=worker, version=version, clean=False,
                         properties=EXPIRY if version == V5 else None)
        client.subscribe(*filters, qos=qos)
        client.disconnect()
    return make


def numbers(messages):
    return [int(message.payload) for message in messages]


def after_the_last(sub, pub):
    """Nothing more comes to `sub` than it has read."""
    Marker(pub, sub).expect_nothing()


# ---------------------------------------------------------------- sessions


@each_end
def test_a_session_is_there_with_its_subscriptions(connect, broker, end, resume, unique):
    """QoS, No Local, Retain As Published, identifiers, a shared one; and not what was unsubscribed."""
    sub = connect(unique, properties=EXPIRY)
    sub.subscribe(f"{unique}/a", qos=0)
    sub.subscribe(f"{unique}/b/+", qos=1, identifier=7)
    sub.subscribe(f"{unique}/c/#", qos=2, no_local=True)
    sub.subscribe(f"{unique}/d", qos=1, retain_as_published=True)
    sub.subscribe(f"$share/g/{unique}/e", qos=1, identifier=268_435_455)
    sub.subscribe(f"{unique}/f", qos=1)
    sub.unsubscribe(f"{unique}/f")
    end(broker)
    sub, pub = resume(unique, worker=1), connect(worker=broker.workers - 1)
    sub.expect_nothing()
    pub.publish(f"{unique}/a", b"a", qos=2)
    sub.receive(topic=f"{unique}/a", qos=0)
    pub.publish(f"{unique}/b/x", b"b", qos=2)
    assert sub.receive(topic=f"{unique}/b/x", qos=1).properties["subscription_identifier"] == [7]
    sub.publish(f"{unique}/c/x", b"own", qos=1)
    pub.publish(f"{unique}/c/x", b"other", qos=2, retain=True)
    assert sub.receive(payload=b"other", qos=2, retain=False).properties == {}
    pub.publish(f"{unique}/d", b"d", qos=1, retain=True)
    sub.receive(topic=f"{unique}/d", qos=1, retain=True)
    pub.publish(f"{unique}/e", b"e", qos=1)
    assert sub.receive(topic=f"{unique}/e", qos=1).properties["subscription_identifier"] == [268_435_455]
    pub.publish(f"{unique}/f", b"f", qos=1)
    after_the_last(sub, pub)


@few_ends
def test_a_changed_subscription(connect, broker, end, resume, unique):
    """The last SUBSCRIBE of a filter counts."""
    sub = connect(unique, properties=EXPIRY)
    sub.subscribe(unique, qos=2, identifier=1)
    sub.subscribe(unique, qos=1, identifier=2)
    end(broker)
    sub = resume(unique, worker=1)
    connect().publish(unique, b"x", qos=2)
    assert sub.receive(qos=1).properties["subscription_identifier"] == [2]


@ends("2 killed", "4 master")
@pytest.mark.parametrize("version", [V31, V311])
def test_a_session_of_an_older_client(connect, broker, end, resume, offline, version, unique):
    offline(unique, unique, version=version)
    connect(worker=1).publish(unique, b"x", qos=2)
    end(broker)
    sub = resume(unique, worker=1, version=version)
    sub.receive(payload=b"x", qos=2)


@each_kill
def test_a_session_that_ends_with_its_connection_does_not_come_back(connect, broker, end, resume, unique):
    """Nor does anything of it: nobody subscribes to the topic any more."""
    clean, brief = connect(f"{unique}-clean"), connect(f"{unique}-brief", worker=1, clean=False)
    for client in (clean, brief):
        client.subscribe(unique, qos=1)
    end(broker)
    pub = connect()
    assert pub.publish(unique, b"x", qos=1).reason == 0x10
    for client in (clean, brief):
        resume(client.client_id, present=False).expect_nothing()


@few_ends
@pytest.mark.parametrize("how", ["expiry 0", "clean start", "clean start without expiry", "3.1.1 clean session"])
def test_a_session_that_was_ended_does_not_come_back(connect, broker, end, resume, offline, how, unique):
    offline(unique, f"{unique}/#")
    pub = connect(worker=1)
    pub.publish(f"{unique}/queued", b"x", qos=1)
    if how == "expiry 0":
        resume(unique, worker=1).disconnect(0, session_expiry_interval=0)
    elif how == "clean start":
        fresh = connect(unique, worker=1, properties=EXPIRY)
        assert not fresh.connack.session_present
    elif how == "clean start without expiry":
        connect(unique, worker=1).disconnect()
    else:
        connect(unique, worker=1, version=V311).disconnect()
    end(broker)
    back = resume(unique, worker=0, present=how == "clean start")
    assert connect().publish(f"{unique}/later", b"y", qos=1).reason == 0x10
    back.expect_nothing()


@few_ends
def test_a_session_that_moved_has_one_place(connect, broker, end, resume, offline, unique):
    """Its old worker does not bring it back: what was read is not read again, what comes comes once."""
    offline(unique, unique, worker=0)
    pub = connect(worker=0)
    pub.publish(unique, b"read", qos=1)
    moved = resume(unique, worker=1)
    moved.receive(payload=b"read")
    moved.fence()
    moved.disconnect()
    pub.publish(unique, b"1", qos=1)
    end(broker)
    connect(worker=1).publish(unique, b"2", qos=2)
    back = resume(unique, worker=0)
    assert [back.receive().payload for _ in range(2)] == [b"1", b"2"]
    after_the_last(back, connect())


@few_ends
def test_a_session_expires_while_nobody_runs(connect, broker, end, resume, unique):
    """By the wall clock, and from when its client went."""
    for name, expiry in (("brief", 1), ("long", 600), ("endless", 0xFFFFFFFF)):
        client = connect(f"{unique}-{name}", properties={"session_expiry_interval": expiry})
        client.subscribe(unique, qos=1)
        client.disconnect()
    end(broker, pause=2.5)
    resume(f"{unique}-brief", present=False)
    resume(f"{unique}-long", worker=1)
    resume(f"{unique}-endless", worker=1)


@few_ends
def test_a_session_of_a_connected_client_expires_after_the_end(connect, broker, end, resume, unique):
    connect(f"{unique}-brief", properties={"session_expiry_interval": 1})
    connect(f"{unique}-long", worker=1, properties=EXPIRY)
    end(broker, pause=3.5)
    resume(f"{unique}-brief", present=False)
    resume(f"{unique}-long")


@few_ends
def test_an_expiry_that_disconnect_changed(connect, broker, end, resume, unique):
    connect(f"{unique}-brief", properties=EXPIRY).disconnect(0, session_expiry_interval=1)
    connect(f"{unique}-long", properties={"session_expiry_interval": 1}).disconnect(0, session_expiry_interval=600)
    end(broker, pause=2.5)
    resume(f"{unique}-brief", present=False)
    resume(f"{unique}-long")


# ---------------------------------------------------------------- queues


@each_end
def test_what_was_queued_comes_in_order(connect, broker, end, resume, offline, unique):
    offline(unique, f"{unique}/#")
    publishers = [connect(worker=worker) for worker in range(broker.workers)]
    for number, (worker, pub) in itertools.product(range(30), enumerate(publishers)):
        pub.publish(f"{unique}/{worker}", str(number).encode(), qos=1 + number % 2)
    end(broker)
    sub = resume(unique, worker=1)
    messages = sub.receive_many(30 * broker.workers)
    for worker, qos in itertools.product(range(broker.workers), (1, 2)):
        stream = [message for message in messages if message.topic == f"{unique}/{worker}" and message.qos == qos]
        assert numbers(stream) == list(range(qos - 1, 30, 2))
    after_the_last(sub, connect())


@ends("1 killed", "2 killed", "4 killed", "2 killed always")
def test_killed_right_after_the_acknowledgement(connect, broker, end, resume, offline, unique):
    """Everybody at once, as soon as PUBACK or PUBREC is here."""
    offline(unique, unique)
    for number in range(6):
        pub = connect(f"{unique}-pub{number}", worker=number, properties=EXPIRY, timeout=SLOW)
        packet_id = pub.send_publish(unique, str(number).encode(), qos=1 + number % 2)
        pub.expect(Type.PUBREC if number % 2 else Type.PUBACK, packet_id=packet_id)
        end(broker)
    sub = resume(unique, worker=1)
    assert numbers(sub.receive_many(6)) == list(range(6))
    after_the_last(sub, connect())


@few_ends
def test_a_subscription_right_before_the_end(connect, broker, end, resume, unique):
    sub = connect(unique, worker=1, properties=EXPIRY)
    sub.subscribe(unique, qos=1)
    end(broker)
    connect(worker=0).publish(unique, b"x", qos=1)
    resume(unique, worker=0).receive(payload=b"x")


@few_ends
def test_a_queued_message_is_what_was_published(connect, broker, end, resume, offline, unique):
    """Properties in their order, an empty payload and a large one."""
    offline(unique, f"{unique}/#")
    properties = {"payload_format_indicator": 1, "content_type": "text/plain", "response_topic": "answers/here",
                  "correlation_data": b"\0\1\2", "user_property": [("b", "1"), ("a", "2"), ("b", "3")]}
    pub = connect(worker=1)
    pub.publish(f"{unique}/1", "grüße".encode(), qos=1, **properties)
    pub.publish(f"{unique}/2", b"", qos=2)
    pub.publish(f"{unique}/3", bytes(range(256)) * 4096, qos=1)
    end(broker)
    sub = resume(unique)
    first, second, third = sub.receive_many(3)
    assert first.payload == "grüße".encode() and first.properties == properties
    assert (second.topic, second.payload, second.qos, second.retain) == (f"{unique}/2", b"", 2, False)
    assert third.payload == bytes(range(256)) * 4096


@few_ends
def test_what_expires_while_it_is_queued(connect, broker, end, resume, offline, unique):
    offline(unique, unique)
    pub = connect(worker=1)
    pub.publish(unique, b"brief", qos=1, message_expiry_interval=1)
    pub.publish(unique, b"long", qos=1, message_expiry_interval=100)
    end(broker, pause=2.5)
    sub = resume(unique)
    left = sub.receive(payload=b"long").properties["message_expiry_interval"]
    assert 60 <= left <= 98
    after_the_last(sub, connect())


@each_end
def test_messages_of_a_shared_subscription(connect, broker, end, resume, offline, unique):
    """Its members are away: what waits for them is there afterwards, each message for one of them."""
    members = [f"{unique}-member{number}" for number in range(3)]
    for number, member in enumerate(members):
        offline(member, f"$share/g/{unique}", worker=number)
    pub = connect(worker=1)
    for number in range(40):
        pub.publish(unique, str(number).encode(), qos=1 + number % 2)
    end(broker)
    got = []
    clients = [resume(member, worker=number + 1) for number, member in enumerate(members)]
    eventually(lambda: got.extend(message for client in clients for message in taken(client)) or len(got) >= 40,
               "all messages", SLOW)
    assert sorted(numbers(got)) == list(range(40))
    for client in clients:
        client.expect_nothing()


def taken(client):
    """What has come to a client, acknowledged."""
    messages = client.fence()
    for message in messages:
        client.acknowledge(message)
    return messages


# ---------------------------------------------------------------- in flight


@each_end
def test_qos_1_in_flight_comes_again(connect, broker, end, resume, unique):
    """With DUP and its packet identifier, before what was queued behind it."""
    sub, pub = connect(unique, properties={**EXPIRY, "receive_maximum": 3}), connect(worker=1)
    sub.subscribe(unique, qos=1)
    for number in range(5):
        pub.publish(unique, str(number).encode(), qos=1)
    before = [sub.expect(Type.PUBLISH, dup=False) for _ in range(3)]
    end(broker)
    sub = resume(unique, worker=1, properties={**EXPIRY, "receive_maximum": 3})
    for message in before:
        sub.receive(dup=True, packet_id=message.packet_id, payload=message.payload, qos=1)
    assert [sub.receive(dup=False).payload for _ in range(2)] == [b"3", b"4"]
    after_the_last(sub, connect())


def test_what_was_acknowledged_does_not_come_again_after_a_stop(connect, broker, resume, unique):
    sub, pub = connect(unique, properties=EXPIRY), connect(worker=1)
    sub.subscribe(unique, qos=2)
    for number in range(6):
        pub.publish(unique, str(number).encode(), qos=1 + number % 2)
    sub.receive_many(6)
    sub.fence()
    stopped(broker)
    after_the_last(resume(unique, worker=1), connect())


@each_end
def test_qos_2_that_was_not_received(connect, broker, end, resume, unique):
    sub = connect(unique, properties=EXPIRY)
    sub.subscribe(unique, qos=2)
    connect(worker=1).publish(unique, b"x", qos=2)
    before = sub.expect(Type.PUBLISH, qos=2, dup=False)
    end(broker)
    sub = resume(unique, worker=1)
    sub.receive(qos=2, dup=True, packet_id=before.packet_id, payload=b"x")
    after_the_last(sub, connect())


@each_end
def test_qos_2_that_was_received_is_released(connect, broker, end, resume, unique):
    """After PUBREC, and an answer that shows it was taken in: PUBREL, and no PUBLISH again."""
    sub, pub = connect(unique, properties=EXPIRY), connect(worker=1)
    sub.subscribe(unique, qos=2)
    for number in range(3):
        pub.publish(unique, str(number).encode(), qos=2)
    messages = [sub.expect(Type.PUBLISH, qos=2) for _ in range(3)]
    for message in messages[:2]:
        sub.pubrec(message.packet_id)
        sub.expect(Type.PUBREL, packet_id=message.packet_id)
    end(broker)
    sub = resume(unique, worker=1)
    again = [sub.next() for _ in range(3)]
    assert [packet.packet_id for packet in again if packet.type == Type.PUBREL] == \
        [message.packet_id for message in messages[:2]]
    repeats = [packet for packet in again if packet.type == Type.PUBLISH]
    assert [(packet.packet_id, packet.dup, packet.payload) for packet in repeats] == \
        [(messages[2].packet_id, True, b"2")]
    for message in messages[:2]:
        sub.pubcomp(message.packet_id)
    sub.acknowledge(repeats[0])
    after_the_last(sub, connect())


@few_ends
def test_the_end_of_a_handshake_is_kept_over_two_ends(connect, broker, end, resume, unique):
    sub = connect(unique, properties=EXPIRY)
    sub.subscribe(unique, qos=2)
    connect().publish(unique, b"x", qos=2)
    message = sub.expect(Type.PUBLISH)
    sub.pubrec(message.packet_id)
    sub.expect(Type.PUBREL)
    for worker in (1, 0):
        end(broker)
        sub = resume(unique, worker=worker)
        sub.expect(Type.PUBREL, packet_id=message.packet_id)
    sub.pubcomp(message.packet_id)
    after_the_last(sub, connect())


@each_end
def test_an_incoming_qos_2_identifier_is_known(connect, broker, end, resume, offline, unique):
    """PUBLISH with DUP after PUBREC is no second message; after PUBREL the identifier is free."""
    offline(f"{unique}-sub", unique)
    pub = connect(unique, properties=EXPIRY)
    pub.send_publish(unique, b"1", qos=2, packet_id=5)
    pub.expect(Type.PUBREC, packet_id=5, reason=0)
    end(broker)
    pub = resume(unique, worker=1)
    pub.send_publish(unique, b"1", qos=2, packet_id=5, dup=True)
    pub.expect(Type.PUBREC, packet_id=5)
    pub.pubrel(5)
    pub.expect(Type.PUBCOMP, packet_id=5, reason=0)
    end(broker)
    pub = resume(unique, worker=0)
    pub.send_publish(unique, b"2", qos=2, packet_id=5)
    pub.expect(Type.PUBREC, packet_id=5, reason=0)
    pub.pubrel(5)
    pub.expect(Type.PUBCOMP, packet_id=5, reason=0)
    sub = resume(f"{unique}-sub", worker=1)
    assert [sub.receive(qos=2).payload for _ in range(2)] == [b"1", b"2"]
    after_the_last(sub, pub)


@few_ends
def test_a_release_after_the_end(connect, broker, end, resume, unique):
    """PUBREL of an identifier from before: PUBCOMP without an error."""
    pub = connect(unique, properties=EXPIRY)
    pub.send_publish(unique, b"1", qos=2, packet_id=9)
    pub.expect(Type.PUBREC, packet_id=9)
    end(broker)
    pub = resume(unique, worker=1)
    pub.pubrel(9)
    pub.expect(Type.PUBCOMP, packet_id=9, reason=0)


# ---------------------------------------------------------------- retained messages


@each_end
def test_retained_messages(connect, broker, end, unique):
    """Set, changed and deleted; every worker shows them, and they can be changed again."""
    pub = connect(worker=1)
    expected = {}
    for number in range(60):
        topic, value = f"{unique}/{number}/x", str(number).encode()
        pub.publish(topic, value, qos=1 + number % 2, retain=True)
        expected[topic] = (value, 1 + number % 2)
        if number % 3 == 1:
            pub.publish(topic, b"new", qos=1, retain=True)
            expected[topic] = (b"new", 1)
        elif number % 3 == 2:
            pub.publish(topic, b"", qos=1, retain=True)
            del expected[topic]
    end(broker)
    for worker in range(broker.workers):
        assert retained(connect(worker=worker), f"{unique}/#", len(expected)) == expected
    pub = connect()
    for topic in sorted(expected)[:20]:
        pub.publish(topic, b"", qos=1, retain=True)
        del expected[topic]
    pub.publish(sorted(expected)[0], b"newest", qos=1, retain=True)
    expected[sorted(expected)[0]] = (b"newest", 1)
    end(broker)
    for worker in range(broker.workers):
        assert retained(connect(worker=worker), f"{unique}/+/x", len(expected)) == expected


def retained(client, name, count):
    """{topic: (payload, QoS)} of the `count` retained messages that a new subscription gets, and not one more."""
    client.subscribe(name, qos=2)
    messages = client.receive_many(count)
    assert all(message.retain for message in messages)
    client.expect_nothing()
    found = {message.topic: (message.payload, message.qos) for message in messages}
    assert len(found) == count
    return found


@few_ends
def test_a_retained_message_keeps_its_properties_and_expires(connect, broker, end, unique):
    pub = connect()
    pub.publish(f"{unique}/brief", b"x", qos=1, retain=True, message_expiry_interval=1)
    pub.publish(f"{unique}/long", b"y", qos=1, retain=True, message_expiry_interval=100, content_type="a",
                user_property=[("k", "v"), ("k", "w")])
    end(broker, pause=2.5)
    sub = connect(worker=1)
    sub.subscribe(f"{unique}/#", qos=1)
    message = sub.receive(topic=f"{unique}/long", retain=True)
    assert 60 <= message.properties.pop("message_expiry_interval") <= 98
    assert message.properties == {"content_type": "a", "user_property": [("k", "v"), ("k", "w")]}
    sub.expect_nothing()


@few_ends
def test_a_publisher_that_repeats_itself_does_not_bring_back_an_old_value(connect, broker, end, resume, unique):
    """PUBLISH with DUP of a QoS 2 message that had been received, after somebody else set a newer value."""
    pub = connect(unique, properties=EXPIRY)
    pub.send_publish(unique, b"old", qos=2, packet_id=3, retain=True)
    pub.expect(Type.PUBREC, packet_id=3)
    connect(worker=1).publish(unique, b"new", qos=1, retain=True)
    end(broker)
    pub = resume(unique, worker=1)
    pub.send_publish(unique, b"old", qos=2, packet_id=3, retain=True, dup=True)
    pub.expect(Type.PUBREC, packet_id=3)
    pub.pubrel(3)
    pub.expect(Type.PUBCOMP, packet_id=3)
    assert retained(connect(), unique, 1) == {unique: (b"new", 1)}


# ---------------------------------------------------------------- wills


@pytest.fixture
def watcher(connect, resume, unique):
    """watcher.read(count): what came to the topics of wills over all ends, and not one more."""
    class Watcher:
        name = f"{unique}-watcher"

        def __init__(self):
            client = connect(self.name, worker=1, properties=EXPIRY)
            client.subscribe(f"{unique}/will/#", qos=2)
            client.disconnect()

        def read(self, count):
            client = resume(self.name)
            wills = sorted(message.topic.rsplit("/", 1)[1] for message in client.receive_many(count))
            after_the_last(client, connect())
            client.disconnect()
            return wills

    return Watcher()


def will_of(unique, name, **properties):
    return packets.Will(f"{unique}/will/{name}", b"", qos=2, **properties)


@each_kill
def test_wills_of_clients_that_were_connected(connect, broker, end, watcher, unique):
    """Each fires once, whatever session its client has; not that of a client that had said goodbye."""
    for worker in range(broker.workers):
        connect(f"{unique}-d{worker}", worker=worker, properties=EXPIRY, will=will_of(unique, f"durable{worker}"))
        connect(f"{unique}-c{worker}", worker=worker, will=will_of(unique, f"clean{worker}"))
        connect(f"{unique}-o{worker}", worker=worker, version=V311, will=will_of(unique, f"older{worker}"))
        connect(f"{unique}-p{worker}", worker=worker, properties=EXPIRY,
                will=will_of(unique, f"polite{worker}")).disconnect()
    end(broker)
    due = [f"{kind}{worker}" for kind in ("clean", "durable", "older") for worker in range(broker.workers)]
    assert watcher.read(len(due)) == sorted(due)
    end(broker)
    assert watcher.read(0) == []


@each_kill
def test_a_will_without_delay_fires_though_its_client_is_back_at_once(connect, broker, end, resume, watcher, unique):
    connect(unique, properties=EXPIRY, will=will_of(unique, "old"))
    end(broker)
    resume(unique, worker=1).disconnect()
    assert watcher.read(1) == ["old"]


@each_kill
def test_a_delayed_will_fires_after_the_kill(connect, broker, end, watcher, unique):
    """Not before its delay is over, and once."""
    connect(unique, properties=EXPIRY, will=will_of(unique, "late", will_delay_interval=6))
    begin = time.monotonic()
    end(broker)
    if time.monotonic() - begin < 5:
        assert watcher.read(0) == []
    assert watcher.read(1) == ["late"]
    assert time.monotonic() - begin >= 6
    end(broker)
    assert watcher.read(0) == []


@each_kill
def test_a_delayed_will_is_cancelled_by_resumption(connect, broker, end, resume, watcher, unique):
    connect(unique, properties=EXPIRY, will=will_of(unique, "never", will_delay_interval=30))
    connect(f"{unique}-other", worker=1, properties=EXPIRY, will=will_of(unique, "due", will_delay_interval=3))
    end(broker)
    resume(unique, worker=1).disconnect()
    assert watcher.read(1) == ["due"]


@each_kill
def test_a_will_that_was_waiting_when_everybody_died(connect, broker, end, watcher, unique):
    """Its client had gone before, and the delay was running."""
    connect(unique, properties=EXPIRY, will=will_of(unique, "late", will_delay_interval=3)).abort()
    end(broker, pause=3.5)
    assert watcher.read(1) == ["late"]


@each_kill
def test_a_retained_will(connect, broker, end, unique):
    will = packets.Will(unique, b"gone", qos=1, retain=True)
    connect(f"{unique}-c", properties=EXPIRY, will=will)
    end(broker)
    sub = connect(worker=1)
    sub.subscribe(unique, qos=1)
    sub.receive(payload=b"gone")


# ---------------------------------------------------------------- while a slot is down


def keep_down(broker, worker):
    """Kill the worker of a slot as often as it starts, until the master waits for seconds before the next start."""
    slot, deadline = (f"w{worker}", 0), time.monotonic() + 60
    while True:
        begin = time.monotonic()
        assert begin < deadline, "the worker cannot be kept down"
        while not (pid := broker.worker_pids().get(slot)):
            time.sleep(0.002)
            if time.monotonic() - begin > 1.0:
                return  # at least 0.6 s more: 1.6, 3.2, 5 s are the pauses that are longer than one second
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        eventually(lambda dead=pid: broker.worker_pids().get(slot) != dead, "its end")


@pytest.mark.parametrize("broker", [(2, {}), (4, {}), (2, ALWAYS)], indirect=True, ids=["2w", "4w", "always"])
def test_what_is_published_for_a_dead_worker(connect, broker, resume, offline, unique):
    """Its durable subscribers miss nothing, and no PUBACK waits until it is back."""
    down = broker.workers - 1
    offline(unique, f"{unique}/#", worker=down)
    publishers = [connect(worker=worker, timeout=5) for worker in range(down)]
    keep_down(broker, down)
    count = meanwhile = 0
    while (f"w{down}", 0) not in broker.worker_pids():
        for worker, pub in enumerate(publishers):
            assert pub.publish(f"{unique}/{worker}", str(count).encode(), qos=1 + count % 2).reason == 0
        meanwhile += (f"w{down}", 0) not in broker.worker_pids()
        count += 1
        time.sleep(0.02)
    assert meanwhile > 0, "nothing was acknowledged before the worker came back"
    for worker, pub in enumerate(publishers):
        pub.timeout = SLOW
        pub.publish(f"{unique}/{worker}", str(count).encode(), qos=1 + count % 2)
    broker.all_ready()
    sub = resume(unique)
    messages = sub.receive_many((count + 1) * down)
    for worker, qos in itertools.product(range(down), (1, 2)):
        stream = [message for message in messages if message.topic == f"{unique}/{worker}" and message.qos == qos]
        assert numbers(stream) == list(range(qos - 1, count + 1, 2))
    after_the_last(sub, connect())


def test_what_waits_for_a_dead_worker_outlives_its_keeper(connect, broker, resume, offline, unique):
    """Acknowledged while the subscriber's worker was down; then the publisher's worker dies as well."""
    offline(unique, unique, worker=1)
    pub = connect(worker=0, timeout=5)
    keep_down(broker, 1)
    for number in range(4):
        pub.publish(unique, str(number).encode(), qos=1 + number % 2)
    assert ("w1", 0) not in broker.worker_pids(), "the worker came back too early for this test"
    os.kill(broker.pid_of(0), signal.SIGKILL)
    broker.all_ready()
    sub = resume(unique)
    assert sorted(numbers(sub.receive_many(4))) == list(range(4))
    after_the_last(sub, connect())


@pytest.mark.parametrize("broker", [(2, {"stall_timeout": 1})], indirect=True, ids=["2w"])
def test_what_is_published_for_a_stuck_worker(connect, broker, resume, offline, unique):
    """It is killed as stuck; what had been sent to it and not handled is not lost."""
    offline(unique, unique, worker=1)
    pub = connect(worker=0, timeout=SLOW)
    os.kill(broker.pid_of(1), signal.SIGSTOP)
    for number in range(10):
        assert pub.publish(unique, str(number).encode(), qos=1 + number % 2).reason == 0
    broker.all_ready()
    sub = resume(unique)
    messages = sub.receive_many(10)
    for qos in (1, 2):
        assert numbers(message for message in messages if message.qos == qos) == list(range(qos - 1, 10, 2))
    after_the_last(sub, connect())


# ---------------------------------------------------------------- another number of workers


@pytest.mark.parametrize("last", ["stop", "kill"])
@pytest.mark.parametrize("before, after", [(4, 2), (2, 4), (4, 1), (1, 4)])
def test_another_number_of_workers(tmp_path, before, after, last):
    """Sessions, what is in flight and queued, and retained messages are there; and when the number is what it was, what
    was read and changed meanwhile does not come back."""
    names = [f"client{number}" for number in range(16)]
    with host(tmp_path, before, last) as broker:
        pub = Client(broker.port()).connect("pub")
        for name in names:
            sub = Client(broker.port()).connect(name, properties=EXPIRY)
            sub.subscribe(f"to/{name}", qos=2)
            pub.publish(f"to/{name}", b"in flight", qos=1)
            sub.expect(Type.PUBLISH, packet_id=1)
            sub.abort()
            pub.publish(f"to/{name}", b"queued", qos=2)
        for number in range(40):
            pub.publish(f"kept/{number}", b"old", qos=1, retain=True)
    with host(tmp_path, after, last) as broker:
        pub = Client(broker.port()).connect("pub")
        assert all(value == (b"old", 1) for value in retained(Client(broker.port()).connect(), "kept/#", 40).values())
        for name in names:
            sub = Client(broker.port()).connect(name, clean=False, properties=EXPIRY)
            assert sub.connack.session_present, name
            sub.receive(payload=b"in flight", dup=True, packet_id=1)
            sub.receive(payload=b"queued", qos=2)
            sub.fence()
            sub.disconnect()
            pub.publish(f"to/{name}", b"next", qos=1)
        for number in range(40):
            pub.publish(f"kept/{number}", b"new" if number % 2 else b"", qos=1, retain=True)
    with host(tmp_path, before, "stop") as broker:
        pub = Client(broker.port()).connect("pub")
        assert all(value == (b"new", 1) for value in retained(Client(broker.port()).connect(), "kept/#", 20).values())
        for name in names:
            sub = Client(broker.port()).connect(name, clean=False, properties=EXPIRY)
            assert sub.connack.session_present, name
            sub.receive(payload=b"next", qos=1)
            after_the_last(sub, pub)


@contextlib.contextmanager
def host(directory, workers, last):
    """A broker of one group on one port, which ends in the way of `last`."""
    broker = Broker(workers, shared_port=True, directory=directory)
    broker.start()
    try:
        yield broker
        broker.stop() if last == "stop" else broker.kill_master()
    except BaseException:
        print(broker.diagnosis())
        raise
    finally:
        broker.kill()


# ---------------------------------------------------------------- stores that cannot be used


def refused(broker, *words):
    """The start fails in bounded time with an error that names the store; what it said."""
    broker.stderr_file.unlink(missing_ok=True)
    log = broker.directory / "run/mqtt-master.log"
    log.unlink(missing_ok=True)
    broker.spawn()
    try:
        code = broker.process.wait(40)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"it runs\n{broker.diagnosis()}") from None
    finally:
        broker.kill()
    said = broker.stderr_file.read_text() + (log.read_text() if log.exists() else "")
    assert code not in (0, None) and code > 0, f"exit code {code}\n{said}"
    for word in ("store/slot-0", *words):
        assert word in said, f"not a word of {word!r}\n{said}"
    broker.check_sanitizers()
    return said


@pytest.fixture
def used():
    """A broker that has stopped and left a store with something in it, where everybody may look."""
    directory = Path(tempfile.mkdtemp(prefix="mm-store-"))
    directory.chmod(0o755)
    broker = Broker(1, directory=directory)
    with broker:
        sub = Client(broker.port()).connect("someone", properties=EXPIRY)
        sub.subscribe("t", qos=1)
        sub.disconnect()
        Client(broker.port()).connect("pub").publish("t", b"x", qos=1)
    assert store_of(broker).is_dir(), "no store was made"
    yield broker
    broker.kill()
    shutil.rmtree(directory, ignore_errors=True)


def store_of(broker):
    return broker.directory / "data/store/slot-0"


def test_a_store_that_is_no_directory(tmp_path):
    broker = Broker(1, directory=tmp_path)
    store_of(broker).parent.mkdir(parents=True)
    store_of(broker).write_text("this is no store\n")
    refused(broker)
    assert store_of(broker).read_text() == "this is no store\n"


def test_a_store_of_somebody_else(used):
    """The workers run as nobody, who may not read it; once he may, everything is there."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    used.config["user"] = "nobody"
    shutil.rmtree(used.directory / "run")  # which was made for root
    shutil.chown(used.directory / "data", "nobody")
    shutil.chown(used.directory / "data/store", "nobody")
    refused(used)
    for path in used.directory.glob("data/store/slot-0/**/*"):
        shutil.chown(path, "nobody")
    shutil.chown(store_of(used), "nobody")
    with used:
        sub = Client(used.port()).connect("someone", clean=False, properties=EXPIRY)
        assert sub.connack.session_present
        sub.receive(payload=b"x")


def test_a_store_that_is_garbage(used):
    """It is refused and left as it is."""
    for path in store_of(used).rglob("*"):
        if path.is_file() and path.name not in ("LOCK", "LOG"):
            path.write_bytes(b"\xA5" * max(path.stat().st_size, 100))
    before = {path: path.read_bytes() for path in store_of(used).rglob("*") if path.is_file() and path.name == "CURRENT"}
    refused(used)
    assert before and all(path.read_bytes() == data for path, data in before.items())


def test_a_store_of_a_newer_version(used):
    """Needs ldb of rocksdb-tools to raise the version in it (shared/store/record.h: "M" "format")."""
    ldb = shutil.which("ldb") or shutil.which("rocksdb_ldb")
    if not ldb:
        pytest.skip("needs ldb")
    key, value = b"Mformat".hex(), (99).to_bytes(4, "little").hex()
    subprocess.run([ldb, f"--db={store_of(used)}", "put", "--hex", f"0x{key}", f"0x{value}"], check=True, timeout=30)
    refused(used, "version", "99")


def test_a_store_that_another_process_has_open(used):
    """As of a worker that somehow lives on: no two write into one store."""
    with used:
        second = subprocess.Popen([binary(), "-c", str(used.config_file)], cwd=used.directory,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            _, said = second.communicate(timeout=20)
        finally:
            second.kill()
        assert second.returncode > 0 and said.strip()
        sub = Client(used.port()).connect("someone", clean=False, properties=EXPIRY)
        sub.receive(payload=b"x")


# ---------------------------------------------------------------- a full disk

MEGABYTE = 1 << 20


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 48 MB, 16 of which a file takes that can be removed."""
    disk = tmp_path / "data"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(disk)], capture_output=True,
                             check=False)
    if mounted.returncode:
        pytest.skip(f"mount is not permitted: {mounted.stderr.decode().strip()}")
    try:
        (disk / "ballast").write_bytes(bytes(16 * MEGABYTE))
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


def fill(pub, topic, size=64 * 1024):
    """Publish until it is refused, or not answered for five seconds. (numbers that were acknowledged, the last, whether
    the last was refused)"""
    acknowledged = []
    for number in range(2000):
        packet_id = pub.send_publish(topic, str(number).encode().ljust(size, b" "), qos=1)
        try:
            puback = pub.wait_for(Type.PUBACK, packet_id=packet_id, timeout=5)
        except AssertionError:
            return acknowledged, number, False
        if puback.reason >= 0x80:
            assert puback.reason == 0x97, f"{puback}"
            return acknowledged, number, True
        acknowledged.append(number)
    raise AssertionError(f"2000 messages of {size} bytes were acknowledged")


@pytest.mark.parametrize("publisher", [0, 1], ids=["same worker", "other worker"])
def test_a_full_disk(tmp_path, small_disk, publisher):
    """What needs the store is refused or waits, and is never acknowledged falsely; the rest goes on; with space again
    everything does, and nothing that was acknowledged is lost."""
    with Broker(2, {"mqtt": {"max_queued_bytes": 1 << 30}}, directory=tmp_path) as broker, contextlib.ExitStack() as open:
        def client(name, worker=0, timeout=SLOW, **fields):
            return open.enter_context(Client(broker.port(worker), timeout=timeout)).connect(name, **fields)

        durable = client("durable", properties=EXPIRY)
        durable.subscribe("durable", qos=1)
        durable.disconnect()
        brief, other = client("brief", timeout=10), client("other", worker=1, timeout=10)
        brief.subscribe("brief/#", qos=1)
        pub = client("pub", publisher)
        acknowledged, last, was_refused = fill(pub, "durable")
        assert acknowledged, "not one message found room"
        for number in range(20):
            other.publish("brief/0", str(number).encode(), qos=number % 2)
            brief.receive(payload=str(number).encode())
        (small_disk / "ballast").unlink()
        again = client("again", publisher, timeout=5)
        eventually(lambda: accepted(again, "durable", b"after"), "a PUBACK after there is space again", SLOW)
        durable = client("durable", clean=False, properties=EXPIRY)  # to move it would need room for a second copy
        assert durable.connack.session_present
        got = []
        while b"after" not in got:
            got.append(durable.receive().payload.rstrip(b" "))
        numbers_got = list(dict.fromkeys(int(payload) for payload in got if payload != b"after"))
        assert numbers_got in (acknowledged, [*acknowledged, last]), f"acknowledged {acknowledged}, got {numbers_got}"
        assert was_refused is False or numbers_got == acknowledged, "a message that was refused came"


def accepted(pub, topic, payload):
    packet_id = pub.send_publish(topic, payload, qos=1)
    try:
        return pub.wait_for(Type.PUBACK, packet_id=packet_id).reason < 0x80
    except AssertionError:
        return False


def test_a_worker_that_is_killed_while_the_disk_is_full(tmp_path, small_disk):
    """It comes back at the latest when there is space again, and has everything."""
    with Broker(1, {"mqtt": {"max_queued_bytes": 1 << 30}}, directory=tmp_path) as broker:
        durable = Client(broker.port()).connect("durable", properties=EXPIRY)
        durable.subscribe("durable", qos=1)
        durable.disconnect()
        acknowledged, last, _ = fill(Client(broker.port()).connect("pub"), "durable")
        os.kill(broker.pid_of(0), signal.SIGKILL)
        time.sleep(0.5)
        (small_disk / "ballast").unlink()
        broker.all_ready()
        durable = Client(broker.port(), timeout=SLOW).connect("durable", clean=False, properties=EXPIRY)
        assert durable.connack.session_present
        got = [int(message.payload) for message in durable.receive_many(len(acknowledged))]
        assert got == acknowledged


# ---------------------------------------------------------------- store.max_size


def bytes_of(directory):
    total = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # it is at work
            total += path.stat().st_size
    return total


def status_of(broker):
    return subprocess.run([binary(), "-c", str(broker.config_file), "status"], cwd=broker.directory, timeout=20,
                          capture_output=True, text=True, check=False).stdout


def test_a_store_that_has_reached_its_maximum(tmp_path):
    """It is refused and said, the disk does not get more; what is read makes room, and the disk gets its space back."""
    limit = 8 * MEGABYTE
    config = {"store": {"max_size": limit}, "mqtt": {"max_queued_bytes": 1 << 30}}
    with Broker(1, config, directory=tmp_path) as broker, contextlib.ExitStack() as open:
        def client(name, version=V5, **fields):
            return open.enter_context(Client(broker.port(), version, timeout=SLOW)).connect(name, **fields)

        durable = client("durable", properties=EXPIRY)
        durable.subscribe("durable", qos=1)
        durable.disconnect()
        acknowledged, _, was_refused = fill(client("pub"), "durable", 8 * 1024)
        assert was_refused and len(acknowledged) > 50
        eventually(lambda: "[store full]" in status_of(broker), "the status of a full store")
        older = client("older", version=V311)
        older.send_publish("durable", b"x" * 64 * 1024, qos=1)
        older.expect_closed()
        brief = client("brief")
        brief.subscribe("brief", qos=1)
        client("other").publish("brief", b"x", qos=1)
        brief.receive(payload=b"x")
        assert bytes_of(store_of(broker)) < 2 * limit
        durable = client("durable", clean=False, properties=EXPIRY)
        assert [int(message.payload) for message in durable.receive_many(len(acknowledged))] == acknowledged
        again = client("again")
        eventually(lambda: accepted(again, "durable", b"after"), "a PUBACK after there is room again", SLOW)
        durable.receive(payload=b"after")
        eventually(lambda: "[store full]" not in status_of(broker), "the status of a store with room", SLOW)
        eventually(lambda: bytes_of(store_of(broker)) < limit / 4, "the space that drained queues have left", SLOW)
