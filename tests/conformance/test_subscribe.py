"""Sections 3.8 to 3.11 and 4.7: SUBSCRIBE, UNSUBSCRIBE and how topics match filters."""
import pytest

from mm import packets
from mm.client import LENIENT, Closed
from mm.fixtures import Marker, each_current_version, each_version, mqtt5, mqtt311
from mm.packets import V5, V311, Reason, Type

FAILURE = 0x80

# ---------------------------------------------------------------- what is refused


@each_current_version
@pytest.mark.parametrize("packet", [packets.subscribe, packets.unsubscribe], ids=["SUBSCRIBE", "UNSUBSCRIBE"])
@mqtt311("MQTT-3.8.3-3", "MQTT-3.10.3-2")
@mqtt5("MQTT-3.8.3-2", "MQTT-3.10.3-2")
def test_a_packet_without_filters_closes(connect, version, packet):
    client = connect(version=version)
    client.send(packet(1, [], version))
    seen = client.expect_closed()
    assert version == V311 or LENIENT or seen[-1].reason in (Reason.PROTOCOL_ERROR, Reason.MALFORMED_PACKET)


@each_current_version
@pytest.mark.parametrize("packet", ["subscribe", "unsubscribe"])
@mqtt311("MQTT-3.8.3-1", "MQTT-3.10.3-1")
@mqtt5("MQTT-3.8.3-1", "MQTT-3.10.3-1")
def test_a_filter_longer_than_its_packet_closes(connect, version, packet):
    client = connect(version=version)
    body = b"\x00\x01" + (b"\x00" if version == V5 else b"") + b"\x00\x09abc"
    client.send(packets.frame(0x82 if packet == "subscribe" else 0xA2, body))
    client.expect_closed(Reason.MALFORMED_PACKET)


@pytest.mark.parametrize("options", [0x03, 0x04, 0x80, 0x41, 0xFF])
@mqtt311("MQTT-3.8.3-4")
def test_reserved_bits_of_the_requested_qos_close_in_3_1_1(connect, options):
    client = connect(version=V311)
    client.send(packets.subscribe(1, [("a", options)], V311))
    client.expect_closed()


@pytest.mark.parametrize("options", [0x03, 0x30, 0x40, 0x80, 0xC1])
@mqtt5("MQTT-3.8.3-5")
def test_reserved_bits_and_values_of_the_subscription_options_close_in_5(connect, options):
    client = connect()
    client.send(packets.subscribe(1, [("a", options)]))
    seen = client.expect_closed()
    assert LENIENT or seen[-1].reason in (Reason.MALFORMED_PACKET, Reason.PROTOCOL_ERROR)


INVALID_FILTERS = ["", "a/#/b", "#/a", "a#", "a/b#", "a+", "+a", "a/+b/c", "a/b+/c", "##", "++"]


@each_current_version
@pytest.mark.parametrize("name", INVALID_FILTERS)
@mqtt311("MQTT-4.7.1-2", "MQTT-4.7.1-3", "MQTT-4.7.3-1", "MQTT-4.8.0-1")
@mqtt5("MQTT-4.7.1-1", "MQTT-4.7.1-2", "MQTT-4.7.3-1")
def test_an_invalid_filter_is_refused(connect, version, name):
    """By the return code or by closing."""
    client = connect(version=version)
    client.send(packets.subscribe(1, [(name, 0)], version))
    try:
        answer = client.next()
    except Closed:
        assert version == V311 or LENIENT
    else:
        reasons = answer.reasons if answer.type == Type.SUBACK else [answer.reason]
        assert reasons[0] in (FAILURE, Reason.MALFORMED_PACKET, Reason.PROTOCOL_ERROR, Reason.TOPIC_FILTER_INVALID)


@each_current_version
@mqtt311("MQTT-4.7.3-3")
@mqtt5("MQTT-4.7.3-3")
def test_the_longest_topic_that_can_be_encoded_passes(connect, version, unique):
    """65,535 bytes in one level; the length field can say no more."""
    topic = unique + "x" * (65535 - len(unique))
    sub, pub = connect(version=version), connect(version=version, worker=1)
    sub.subscribe(topic)
    pub.publish(topic, b"long")
    sub.receive(topic=topic, payload=b"long")


# ---------------------------------------------------------------- matching

MATCHES = [  # filter, topics that match, topics that do not
    ("a", ["a"], ["A", "a/", "/a", "ab"]),
    ("a/#", ["a", "a/", "a/b", "a/b/c"], ["b", "ab"]),
    ("a/+", ["a/b", "a/"], ["a", "a/b/c"]),
    ("+/b", ["a/b", "/b"], ["b", "a/b/"]),
    ("+/+", ["a/b", "/b", "/"], ["a", "a/b/c"]),
    ("/+", ["/a", "/"], ["a", "a/b"]),
    ("a//b", ["a//b"], ["a/b", "a/x/b"]),
    ("a/+/+/d", ["a/b/c/d", "a///d"], ["a/b/d"]),
    ("a/+/#", ["a/b", "a/b/c", "a/"], ["a"]),
]


@pytest.mark.parametrize("name, matching, others", MATCHES, ids=[row[0] for row in MATCHES])
@mqtt311("MQTT-4.7.1-2", "MQTT-4.7.1-3", "MQTT-3.3.2-3")
@mqtt5("MQTT-4.7.1-1", "MQTT-4.7.1-2", "MQTT-3.3.2-3")
def test_matching(connect, name, matching, others, unique):
    sub, pub = connect(), connect(worker=1)
    sub.subscribe(f"{unique}/{name}")
    marker = Marker(pub, sub)
    for topic in matching + others:
        pub.publish(f"{unique}/{topic}")
    assert [message.topic for message in marker.flush()] == [f"{unique}/{topic}" for topic in matching]


@each_version
@pytest.mark.parametrize("wildcard", ["#", "+/{}", "+/#"])
@mqtt311("MQTT-4.7.2-1")
@mqtt5("MQTT-4.7.2-1")
def test_leading_wildcards_do_not_match_dollar_topics(connect, version, wildcard, unique):
    sub, pub = connect(version=version), connect(version=version, worker=1)
    name = wildcard.format(unique)
    explicit = connect(version=version)
    explicit.subscribe(f"$mine/{unique}")
    sub.subscribe(name)
    marker = Marker(pub, explicit)
    pub.publish(f"$mine/{unique}", b"x")
    before = marker.flush()
    assert [message.topic for message in before] in ([f"$mine/{unique}"], [])
    pub.publish(f"x/{unique}", b"fence")
    while (message := sub.receive()).payload != b"fence":
        assert not message.topic.startswith("$")


# ---------------------------------------------------------------- what is granted


@each_current_version
@mqtt311("MQTT-3.8.4-4", "MQTT-3.8.4-5", "MQTT-3.9.3-1", "MQTT-3.9.3-2")
@mqtt5("MQTT-3.8.4-5", "MQTT-3.8.4-6", "MQTT-3.8.4-7", "MQTT-3.9.3-1", "MQTT-3.9.3-2")
def test_one_return_code_for_each_filter_in_order(connect, version, unique):
    client, pub = connect(version=version), connect(worker=1)
    requested = [2, 0, 1, 0, 2, 1, 1]
    filters = [(f"{unique}/{number}", qos) for number, qos in enumerate(requested)]
    client.send(packets.subscribe(1, filters, version))
    client.expect(Type.SUBACK, packet_id=1, reasons=requested)
    for number, qos in enumerate(requested):
        pub.publish(f"{unique}/{number}", qos=2)
        client.receive(topic=f"{unique}/{number}", qos=qos)


@each_version
@mqtt311("MQTT-3.8.4-6")
@mqtt5("MQTT-3.8.4-8")
def test_the_lower_of_published_and_granted_qos(connect, version, unique):
    for granted in range(3):
        sub, pub = connect(version=version), connect(version=version, worker=1)
        sub.subscribe(f"{unique}/{granted}", qos=granted)
        for published in range(3):
            pub.publish(f"{unique}/{granted}", qos=published)
            sub.receive(qos=min(granted, published))


@each_version
@mqtt311("MQTT-3.8.4-3", "MQTT-3.3.1-6")
@mqtt5("MQTT-3.8.4-3", "MQTT-3.8.4-4")
def test_an_identical_filter_replaces_the_subscription(connect, version, unique):
    """The new QoS holds, retained messages come again, there is one copy, and nothing is lost meanwhile."""
    sub, pub = connect(version=version), connect(version=version, worker=1)
    pub.publish(unique, b"kept", qos=1, retain=True)
    sub.subscribe(unique, qos=0)
    sub.receive(payload=b"kept", retain=True, qos=0)
    for number in range(20):
        pub.send_publish(unique, str(number).encode(), qos=1)
        if number == 10:
            sub.subscribe(unique, qos=1)
    marker = Marker(pub, sub)
    seen = [message for message in marker.flush() if message.type == Type.PUBLISH]
    assert [int(message.payload) for message in seen if not message.retain] == list(range(20))
    assert [message.qos for message in seen if not message.retain][-1] == 1
    assert [message.qos for message in seen if message.retain] == [1]


@mqtt5("MQTT-3.8.4-3", "MQTT-3.3.4-3")
def test_the_new_options_replace_the_old_ones(connect, unique):
    client = connect()
    client.subscribe(unique, identifier=1)
    client.subscribe(unique, no_local=True)
    other = connect(worker=1)
    client.publish(unique, b"own", qos=1)
    other.publish(unique, b"other", qos=1)
    assert client.receive(payload=b"other").properties == {}


@mqtt5("MQTT-3.8.3-3")
def test_no_local(connect, unique):
    sub, other = connect(), connect(worker=1)
    sub.subscribe(unique, no_local=True)
    sub.publish(unique, b"own", qos=1)
    other.publish(unique, b"other")
    sub.receive(payload=b"other")
    sub.expect_nothing()


@mqtt5("MQTT-3.3.4-3")
@pytest.mark.parametrize("value", [0], ids=["zero"])
def test_subscription_identifier_zero_closes(connect, value):
    client = connect()
    client.send(packets.subscribe(1, [("a", 0)], properties={"subscription_identifier": value}))
    client.expect_closed(Reason.PROTOCOL_ERROR)


# ---------------------------------------------------------------- unsubscribe


@each_version
@mqtt311("MQTT-3.10.4-1", "MQTT-3.10.4-2", "MQTT-3.10.4-4", "MQTT-3.10.4-5", "MQTT-3.10.4-6")
@mqtt5("MQTT-3.10.4-1", "MQTT-3.10.4-2", "MQTT-3.10.4-4", "MQTT-3.10.4-5", "MQTT-3.10.4-6", "MQTT-3.11.3-1",
       "MQTT-3.11.3-2")
def test_unsubscribe_removes_exactly_the_filters_it_names(connect, version, unique):
    sub, pub = connect(version=version), connect(version=version, worker=1)
    names = [f"{unique}/{name}" for name in ("a", "+/b", "#", "c")]
    sub.subscribe(*names)
    unsuback = sub.unsubscribe(names[0], f"{unique}/x/b", names[2], f"{unique}/C")
    if version == V5:
        assert unsuback.reasons == [0, Reason.NO_SUBSCRIPTION_EXISTED, 0, Reason.NO_SUBSCRIPTION_EXISTED]
    marker = Marker(pub, sub)
    for topic in ("a", "x/b", "c", "d"):
        pub.publish(f"{unique}/{topic}")
    assert [message.topic for message in marker.flush()] == [f"{unique}/x/b", f"{unique}/c"]


@each_version
@pytest.mark.parametrize("qos", [1, 2])
@mqtt311("MQTT-3.10.4-3")
@mqtt5("MQTT-3.10.4-3")
def test_unsubscribe_completes_what_is_in_flight(connect, version, qos, unique):
    sub, pub = connect(version=version), connect(version=version, worker=1)
    sub.subscribe(unique, qos=qos)
    pub.publish(unique, b"x", qos=qos)
    message = sub.expect(Type.PUBLISH, qos=qos)
    sub.unsubscribe(unique)
    sub.acknowledge(message)
    sub.expect_nothing()
