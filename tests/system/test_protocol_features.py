"""Every feature of the protocol with publisher and subscriber on different workers, with 1, 2 and 4 workers."""
import collections
import time

import pytest

from mm import packets
from mm.broker import eventually
from mm.client import LENIENT
from mm.fixtures import Marker, each_qos, each_version
from mm.packets import V311, Reason, Type, Will

EXPIRY = {"session_expiry_interval": 60}


def wait_on_the_brokers_clock(connect, seconds, unique):
    """Until the broker has published a will with this delay."""
    watcher = connect()
    watcher.subscribe(f"{unique}/clock/{seconds}")
    connect(will=Will(f"{unique}/clock/{seconds}", b"", will_delay_interval=seconds), properties=EXPIRY).abort()
    watcher.receive()


# ---------------------------------------------------------------- flows and windows


@each_version
@each_qos
def test_flow_between_versions(connect, version, qos, unique):
    """From each version to every version."""
    subscribers = [connect(version=other, worker=other) for other in (3, 4, 5)]
    for sub in subscribers:
        sub.subscribe(unique, qos=qos)
    connect(version=version, worker=1).publish(unique, b"x", qos=qos)
    for sub in subscribers:
        sub.receive(payload=b"x", qos=qos, dup=False, retain=False)


def test_max_inflight_bounds_what_an_older_client_has_to_keep(broker_with, broker, connect, unique):
    small = broker_with(workers=broker.workers, mqtt={"max_inflight": 3})
    sub, pub = connect(at=small, version=V311), connect(at=small, worker=1)
    sub.subscribe(unique, qos=1)
    for number in range(5):
        pub.publish(unique, str(number).encode(), qos=1)
    first = [sub.expect(Type.PUBLISH) for _ in range(3)]
    sub.expect_nothing()
    sub.puback(first[0].packet_id)
    sub.receive(payload=b"3")
    sub.receive(payload=b"4")


@pytest.mark.parametrize("maximum", [1, 2, 7])
def test_receive_maximum_of_a_client(connect, maximum, unique):
    sub, pub = connect(properties={"receive_maximum": maximum}), connect(worker=1)
    sub.subscribe(unique, qos=1)
    for number in range(10):
        pub.publish(unique, str(number).encode(), qos=1)
    in_flight = collections.deque(sub.expect(Type.PUBLISH) for _ in range(maximum))
    for number in range(10 - maximum):
        sub.expect_nothing()
        sub.puback(in_flight.popleft().packet_id)
        in_flight.append(sub.expect(Type.PUBLISH, payload=str(maximum + number).encode()))


def test_receive_maximum_of_the_server(connect, unique):
    client = connect()
    for number in range(client.connack.properties["receive_maximum"]):
        client.send_publish(unique, qos=2)
        client.expect(Type.PUBREC)
    client.send_publish(unique, qos=2)
    client.expect_closed(Reason.RECEIVE_MAXIMUM_EXCEEDED)


@each_qos
def test_order_is_kept(connect, qos, unique):
    sub, pub = connect(), connect(worker=1)
    sub.subscribe(unique, qos=qos)
    for batch in range(10):
        for number in range(batch * 20, batch * 20 + 20):
            pub.send_publish(unique, str(number).encode(), qos)
        if qos:
            answers = [pub.wait_for(Type.PUBACK if qos == 1 else Type.PUBREC) for _ in range(20)]
            for answer in answers if qos == 2 else []:
                pub.pubrel(answer.packet_id)
        if qos == 2:
            for _ in range(20):
                pub.wait_for(Type.PUBCOMP)
        received = []
        for _ in range(20):
            received.append(int(sub.receive().payload))
        assert received == list(range(batch * 20, batch * 20 + 20))


# ---------------------------------------------------------------- sessions


@each_version
def test_a_session_keeps_what_came_while_its_client_was_away(connect, version, unique):
    """In order, at the QoS of the subscription, QoS 1 and 2, however often the client changes its worker."""
    fields = {"version": version, "clean": False, "properties": EXPIRY}
    pub = connect(worker=2)
    connect(unique, **fields).subscribe(unique, qos=2)
    for worker in (1, 2, 3):
        away = connect(unique, worker=worker, **fields)
        away.disconnect()
        for number in range(30):
            pub.publish(unique, str(number).encode(), qos=1 + number % 2)
        back = connect(unique, worker=worker + 1, **fields)
        assert version == 3 or back.connack.session_present
        assert [int(message.payload) for message in back.receive_many(30)] == list(range(30))


@each_version
def test_redelivery_with_dup_on_resume(connect, version, unique):
    fields = {"version": version, "clean": False, "properties": EXPIRY}
    sub, pub = connect(unique, **fields), connect(worker=1)
    sub.subscribe(unique, qos=2)
    for number in range(4):
        pub.publish(unique, str(number).encode(), qos=1 + number % 2)
    first = [sub.expect(Type.PUBLISH) for _ in range(4)]
    sub.abort()
    sub = connect(unique, worker=1, **fields)
    again = [sub.expect(Type.PUBLISH, dup=True) for _ in range(4)]
    assert [(one.payload, one.packet_id) for one in again] == [(one.payload, one.packet_id) for one in first]


def test_clean_start_on_another_worker(connect, unique):
    connect(unique, properties=EXPIRY).subscribe(unique, qos=1)
    fresh, pub = connect(unique, worker=1, properties=EXPIRY), connect()
    assert not fresh.connack.session_present
    pub.publish(unique, b"x", qos=1)
    Marker(pub, fresh).expect_nothing()


def test_session_expiry(connect, unique):
    for name, seconds in (("zero", 0), ("one", 1), ("long", 60), ("never", 0xFFFFFFFF)):
        connect(f"{unique}-{name}", properties={"session_expiry_interval": seconds}).disconnect()
    wait_on_the_brokers_clock(connect, 2, unique)
    present = {name: connect(f"{unique}-{name}", clean=False, worker=1).connack.session_present
               for name in ("zero", "one", "long", "never")}
    assert present == {"zero": False, "one": False, "long": True, "never": True}


def test_disconnect_changes_the_session_expiry(connect, unique):
    connect(f"{unique}-a", properties=EXPIRY).disconnect(0, session_expiry_interval=0)
    connect(f"{unique}-b", properties={"session_expiry_interval": 1}).disconnect(0, session_expiry_interval=60)
    wait_on_the_brokers_clock(connect, 2, unique)
    assert not connect(f"{unique}-a", clean=False, worker=1).connack.session_present
    assert connect(f"{unique}-b", clean=False, worker=1).connack.session_present


def test_the_server_bounds_the_session_expiry(broker_with, broker, connect, unique):
    strict = broker_with(workers=broker.workers, mqtt={"session_expiry_max": 1})
    client = connect(unique, at=strict, properties={"session_expiry_interval": 1000})
    assert client.connack.properties["session_expiry_interval"] == 1


# ---------------------------------------------------------------- wills


@pytest.mark.parametrize("end", ["abort", "protocol-error", "keep-alive", "disconnect-with-will", "takeover"])
def test_a_will_of_every_unclean_end(connect, end, unique):
    sub = connect(worker=1)
    sub.subscribe(unique, qos=2)
    client = connect(f"{unique}-c", keep_alive=1 if end == "keep-alive" else 60, will=Will(unique, b"gone", qos=2))
    if end == "abort":
        client.abort()
    elif end == "protocol-error":
        client.send(b"\x00\x00")
    elif end == "disconnect-with-will":
        client.disconnect(Reason.DISCONNECT_WITH_WILL)
    elif end == "takeover":
        connect(f"{unique}-c", worker=1)
    sub.receive(payload=b"gone", qos=2)


def test_will_delay(connect, unique):
    """Never early, cancelled by a resumed session on another worker, and not later than the session."""
    sub, pub = connect(worker=1), connect()
    sub.subscribe(f"{unique}/#")
    begin = time.monotonic()
    for name, delay, expiry in (("two", 2, 60), ("cancelled", 2, 60), ("session", 60, 1)):
        connect(f"{unique}-{name}", will=Will(f"{unique}/{name}", b"gone", will_delay_interval=delay),
                properties={"session_expiry_interval": expiry}).abort()
    eventually(lambda: connect(f"{unique}-cancelled", clean=False, worker=1, properties=EXPIRY).connack.session_present,
               "the session of a client that is gone is there")
    sub.receive(topic=f"{unique}/session")
    assert time.monotonic() - begin >= 0.99
    sub.receive(topic=f"{unique}/two")
    assert time.monotonic() - begin >= 1.99
    Marker(pub, sub).expect_nothing()


# ---------------------------------------------------------------- retained messages


def test_retained_is_seen_by_every_worker(connect, broker, unique):
    for worker in range(broker.workers):
        connect(worker=worker).publish(f"{unique}/{worker}", str(worker).encode(), qos=1, retain=True)
    expected = {f"{unique}/{worker}" for worker in range(broker.workers)}
    for worker in range(broker.workers):
        sub = connect(worker=worker)
        sub.subscribe(f"{unique}/+", qos=1)
        assert {sub.receive(retain=True).topic for _ in expected} == expected
        sub.expect_nothing()


def test_many_retained_messages_all_arrive(connect, unique):
    pub, sub = connect(worker=1), connect()
    for number in range(500):
        pub.publish(f"{unique}/{number % 7}/{number}", str(number).encode(), qos=number % 2, retain=True)
    pub.publish(f"{unique}/last", b"500", qos=1, retain=True)
    sub.subscribe(f"{unique}/#", qos=1)
    assert sorted(int(sub.receive(retain=True).payload) for _ in range(501)) == list(range(501))


def test_workers_agree_on_what_is_retained(connect, broker, unique):
    """Publishers on all workers race on the same topics; afterwards every worker tells the same last message."""
    publishers = [connect(worker=worker) for worker in range(4)]
    for number in range(30):
        sent = [(pub, pub.send_publish(f"{unique}/{number % 3}", f"{index}/{number}".encode(), 1, retain=True))
                for index, pub in enumerate(publishers)]
        for pub, packet_id in sent:
            pub.wait_for(Type.PUBACK, packet_id=packet_id)
    answers = []
    for worker in range(broker.workers):
        sub = connect(worker=worker)
        sub.subscribe(f"{unique}/+", qos=1)
        answers.append({message.topic: message.payload for message in (sub.receive(retain=True) for _ in range(3))})
    assert len(answers[0]) == 3 and all(answer == answers[0] for answer in answers)


def test_a_retained_message_never_comes_after_a_newer_one(connect, unique):
    """Subscribing again and again while the value counts up: the numbers never go down."""
    pub, sub = connect(worker=1), connect()
    last = -1
    for number in range(0, 100, 5):
        sent = [pub.send_publish(unique, str(number + step).encode(), 1, retain=True) for step in range(5)]
        sub.subscribe(unique, qos=1)
        for packet_id in sent:
            pub.wait_for(Type.PUBACK, packet_id=packet_id)
        for message in Marker(pub, sub).flush():
            assert int(message.payload) >= last, f"{message} after {last}"
            last = int(message.payload)
        sub.unsubscribe(unique)
        last = max(last, number + 4)


def test_retain_handling(connect, unique):
    sub, pub = connect(), connect(worker=1)
    pub.publish(unique, b"kept", qos=1, retain=True)
    marker = Marker(pub, sub)
    for handling, replayed in ((2, False), (1, False), (0, True), (0, True), (1, False)):
        sub.subscribe(unique, retain_handling=handling)
        if replayed:  # it may come from another worker, so behind the marker
            sub.receive(payload=b"kept", retain=True)
        assert marker.flush() == [], f"handling {handling}"


def test_a_retained_message_expires(connect, unique):
    pub = connect(worker=1)
    pub.publish(f"{unique}/short", b"x", qos=1, retain=True, message_expiry_interval=1)
    pub.publish(f"{unique}/long", b"x", qos=1, retain=True, message_expiry_interval=100)
    wait_on_the_brokers_clock(connect, 2, unique)
    sub = connect()
    sub.subscribe(f"{unique}/+")
    message = sub.receive(topic=f"{unique}/long")
    assert 90 <= message.properties["message_expiry_interval"] <= 98
    Marker(pub, sub).expect_nothing()


# ---------------------------------------------------------------- shared subscriptions

def drain(publishers, member):
    """What came to a member before a marker of each publisher."""
    return [message for pub in publishers for message in Marker(pub, member).flush()]


STRATEGIES = ["round_robin", "random", "sticky", "hash_client_id", "local", "least_inflight"]


@pytest.mark.skipif(LENIENT, reason="Mosquitto has one strategy")
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_shared_subscription_strategies(broker_with, broker, connect, strategy, unique):
    """Each message reaches one member, and which one is as the strategy says."""
    shared = broker_with(workers=broker.workers, mqtt={"shared_subscription_strategy": strategy})
    members = [connect(at=shared, worker=worker) for worker in range(4)]
    for member in members:
        member.subscribe(f"$share/g/{unique}/+", qos=1)
    publishers = [connect(at=shared, worker=worker) for worker in range(3)]
    for number in range(40):
        for pub in publishers:
            pub.publish(f"{unique}/{pub.client_id}", str(number).encode(), qos=1)
    received = [drain(publishers, member) for member in members]
    everything = [(message.topic, message.payload) for messages in received for message in messages]
    assert len(set(everything)) == len(everything) == 120
    share = [len(messages) for messages in received]
    if strategy in ("round_robin", "least_inflight"):
        assert min(share) >= 10, share
    if strategy == "hash_client_id":
        for pub in publishers:
            topic = f"{unique}/{pub.client_id}"
            assert sum(any(message.topic == topic for message in messages) for messages in received) == 1


@each_qos
def test_a_shared_subscription_over_all_workers(connect, broker, qos, unique):
    """Every message to exactly one member, everybody gets some; acknowledged as they come."""
    members = [connect(worker=worker) for worker in range(4)]
    for member in members:
        member.subscribe(f"$share/g/{unique}", qos=qos)
    pub = connect(worker=1)
    markers = [Marker(pub, member) for member in members]
    for number in range(40):
        pub.publish(unique, str(number).encode(), qos=qos)
    received = [[int(message.payload) for message in marker.flush()] for marker in markers]
    assert sorted(sum(received, [])) == list(range(40))
    assert all(received)


def test_when_a_member_leaves_the_others_take_over(connect, unique):
    """What it had not acknowledged at QoS 1 is given to another member."""
    leaving, staying, pub = connect(worker=1), connect(), connect(worker=2)
    leaving.subscribe(f"$share/g/{unique}", qos=1)
    staying.subscribe(f"$share/g/{unique}", qos=1)
    for number in range(10):
        pub.publish(unique, str(number).encode(), qos=1)
    leaving.disconnect()
    seen = set()
    while len(seen) < 10:
        seen.add(int(staying.receive().payload))


# ---------------------------------------------------------------- options and properties


def test_subscription_identifiers(connect, unique):
    sub, pub = connect(), connect(worker=1)
    for name, identifier in (("#", 1), ("a/+", 127), ("a/b", 128), ("+/b", 268435455), ("other", 3)):
        sub.subscribe(f"{unique}/{name}", identifier=identifier)
    pub.publish(f"{unique}/a/b")
    assert sorted(sub.receive().properties["subscription_identifier"]) == [1, 127, 128, 268435455]
    Marker(pub, sub).expect_nothing()


def test_subscription_identifiers_outlive_the_connection(connect, unique):
    connect(unique, properties=EXPIRY).subscribe(unique, qos=1, identifier=42)
    sub = connect(unique, clean=False, worker=1, properties=EXPIRY)
    connect().publish(unique, b"x", qos=1)
    assert sub.receive().properties["subscription_identifier"] == [42]


def test_no_local(connect, unique):
    sub, other = connect(), connect(worker=1)
    sub.subscribe(unique, no_local=True, qos=1)
    sub.publish(unique, b"own", qos=1)
    other.publish(unique, b"other", qos=1)
    sub.receive(payload=b"other")
    Marker(other, sub).expect_nothing()


def test_retain_as_published(connect, unique):
    sub, pub = connect(), connect(worker=1)
    sub.subscribe(unique, retain_as_published=True)
    for retain in (True, False):
        pub.publish(unique, b"x", retain=retain)
        sub.receive(retain=retain)


def test_topic_aliases_both_ways(connect, unique):
    sub, pub = connect(properties={"topic_alias_maximum": 5}), connect(worker=1)
    sub.subscribe(f"{unique}/+", qos=1)
    pub.publish(f"{unique}/a", b"1", topic_alias=1)
    pub.publish("", b"2", topic_alias=1)
    pub.publish("", b"3", qos=1, topic_alias=1)
    known, topics = {}, []
    for _ in range(3):
        message = sub.receive()
        alias = message.properties.get("topic_alias")
        if message.topic and alias:
            known[alias] = message.topic
        topics.append((message.topic or known[alias], message.payload))
    assert topics == [(f"{unique}/a", b"1"), (f"{unique}/a", b"2"), (f"{unique}/a", b"3")]
    assert LENIENT or known, "the broker uses aliases for a client that allows them"


def test_message_expiry_is_decremented(connect, unique):
    connect(unique, properties=EXPIRY).subscribe(unique, qos=1)
    connect(unique, clean=False, properties=EXPIRY).disconnect()
    pub = connect(worker=1)
    pub.publish(unique, b"short", qos=1, message_expiry_interval=1)
    pub.publish(unique, b"long", qos=1, message_expiry_interval=100)
    wait_on_the_brokers_clock(connect, 2, unique)
    sub = connect(unique, clean=False, worker=1, properties=EXPIRY)
    assert 90 <= sub.receive(payload=b"long").properties["message_expiry_interval"] <= 98


def test_maximum_packet_size_of_the_client(connect, unique):
    """A larger message is dropped for it alone, at any QoS, and does not hold its place in flight."""
    small, large, pub = connect(properties={"maximum_packet_size": 300}), connect(), connect(worker=1)
    for sub in (small, large):
        sub.subscribe(unique, qos=2)
    for qos in (0, 1, 2):
        for _ in range(25):
            pub.publish(unique, bytes(400), qos=qos)
            large.receive(payload=bytes(400), qos=qos)
        pub.publish(unique, b"fits", qos=qos)
        small.receive(payload=b"fits", qos=qos)
        large.receive(payload=b"fits", qos=qos)


def test_maximum_packet_size_of_the_server(broker_with, broker, connect, unique):
    """Refused as soon as its header says how large it will be."""
    strict = broker_with(workers=broker.workers, mqtt={"max_packet_size": 2000})
    client = connect(at=strict)
    assert LENIENT or client.connack.properties["maximum_packet_size"] == 2000
    client.publish(unique, bytes(1900), qos=1)
    client.send(b"\x30" + packets.varint(2000))
    client.expect_closed(Reason.PACKET_TOO_LARGE)


def test_request_and_response(connect, unique):
    server, client = connect(), connect(worker=1)
    server.subscribe(f"{unique}/service")
    client.subscribe(f"{unique}/answers/me")
    client.publish(f"{unique}/service", b"2+2", response_topic=f"{unique}/answers/me", correlation_data=b"\x00\x01")
    request = server.receive()
    server.publish(request.properties["response_topic"], b"4",
                   correlation_data=request.properties["correlation_data"])
    assert client.receive(payload=b"4").properties["correlation_data"] == b"\x00\x01"


@each_qos
def test_properties_cross_workers_unaltered_and_in_order(connect, qos, unique):
    properties = {"payload_format_indicator": 1, "content_type": "text/plain", "response_topic": "r/ä",
                  "correlation_data": bytes(range(256)),
                  "user_property": [("z", "1"), ("a", "2"), ("z", "3"), ("", ""), ("k" * 1000, "v" * 5000)]}
    sub, pub = connect(), connect(worker=1)
    sub.subscribe(unique, qos=qos)
    pub.publish(unique, b"text", qos=qos, **properties)
    message = sub.receive()
    assert message.properties == properties
    assert message.properties["user_property"] == properties["user_property"]


def test_assigned_client_identifiers_are_unique_over_all_workers(connect):
    names = [connect("", worker=number).connack.properties["assigned_client_identifier"] for number in range(16)]
    assert len(set(names)) == 16


def test_server_keep_alive(broker_with, broker, connect):
    strict = broker_with(workers=broker.workers, mqtt={"max_keepalive": 1})
    client = connect(at=strict, worker=1, keep_alive=0)
    assert LENIENT or client.connack.properties["server_keep_alive"] == 1
    if not LENIENT:
        client.expect_closed(Reason.KEEP_ALIVE_TIMEOUT, timeout=5)


def test_keep_alive_zero_is_no_keep_alive(connect, unique):
    client = connect(keep_alive=0)
    wait_on_the_brokers_clock(connect, 2, unique)
    client.expect_nothing()


@pytest.mark.skipif(LENIENT, reason="Mosquitto 2.0.11 gives no reason strings")
def test_reason_strings_for_who_wants_them(connect):
    asking = connect()
    asking.send(b"\x00\x00")
    assert asking.expect_closed(Reason.MALFORMED_PACKET)[-1].properties.get("reason_string")


# ---------------------------------------------------------------- $-topics


def test_dollar_topics_are_kept_from_leading_wildcards(connect, unique):
    sub, pub = connect(), connect(worker=1)
    sub.subscribe("#")
    sub.subscribe(f"+/{unique}")
    pub.publish(f"$mine/{unique}", b"hidden", qos=1)
    pub.publish(f"fence/{unique}", b"seen", qos=1)
    while (message := sub.receive()).payload != b"seen":
        assert not message.topic.startswith("$")


def test_sys_topics(broker_with, broker, connect):
    """What Mosquitto publishes, retained, on every worker."""
    quick = broker_with(workers=broker.workers, mqtt={"sys_interval": 1})
    expected = {"$SYS/broker/version", "$SYS/broker/uptime", "$SYS/broker/clients/connected",
                "$SYS/broker/messages/received", "$SYS/broker/messages/sent", "$SYS/broker/subscriptions/count",
                "$SYS/broker/retained messages/count"}
    for worker in range(broker.workers):
        sub = connect(at=quick, worker=worker)
        sub.subscribe("$SYS/#")
        missing = set(expected)
        while missing:
            missing.discard(sub.receive().topic)


def test_sys_topics_cannot_be_published(connect, unique):
    sub, pub = connect(), connect(worker=1)
    sub.subscribe(f"$SYS/{unique}")
    pub.send_publish(f"$SYS/{unique}", b"forged")
    Marker(connect(worker=1), sub).expect_nothing()
