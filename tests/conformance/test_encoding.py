"""Chapters 1 and 2: strings, variable byte integers, fixed header flags, packet identifiers."""
import pytest

from mm import packets
from mm.fixtures import each_current_version, each_qos, mqtt5, mqtt311
from mm.packets import V5, Reason, Type, Will

ILL_FORMED = {
    "surrogate": b"a\xed\xa0\x80",
    "overlong": b"a\xc0\xaf",
    "truncated": b"a\xe2\x82",
    "beyond-unicode": b"\xf4\x90\x80\x80",
    "lone-continuation": b"\x80a",
    "null": b"a\x00b",
}
each_ill_formed = pytest.mark.parametrize("text", ILL_FORMED.values(), ids=ILL_FORMED.keys())


@each_current_version
@each_ill_formed
@pytest.mark.parametrize("field", ["client_id", "will_topic", "username"])
@mqtt311("MQTT-1.5.3-1", "MQTT-1.5.3-2", "MQTT-3.1.3-4", "MQTT-3.1.3-10", "MQTT-3.1.3-11")
@mqtt5("MQTT-1.5.4-1", "MQTT-1.5.4-2", "MQTT-3.1.3-4", "MQTT-3.1.3-11", "MQTT-3.1.3-12")
def test_ill_formed_utf8_in_connect_closes(open_socket, version, text, field):
    fields = {"client_id": {"client_id": text}, "will_topic": {"will": Will(text)}, "username": {"username": text}}
    client = open_socket(version=version)
    client.send(packets.connect(version=version, **fields[field]))
    seen = client.expect_closed()
    assert version == V5 or not seen, "a 3.1.1 server closes without a CONNACK"
    assert all(packet.reason >= 0x80 for packet in seen)


@each_current_version
@each_ill_formed
@pytest.mark.parametrize("packet", ["publish", "subscribe", "unsubscribe"])
@mqtt311("MQTT-1.5.3-1", "MQTT-1.5.3-2", "MQTT-3.3.2-1", "MQTT-3.8.3-1", "MQTT-3.10.3-1", "MQTT-4.7.3-2")
@mqtt5("MQTT-1.5.4-1", "MQTT-1.5.4-2", "MQTT-3.3.2-1", "MQTT-3.8.3-1", "MQTT-3.10.3-1", "MQTT-4.7.3-2")
def test_ill_formed_utf8_in_a_topic_closes(connect, version, text, packet):
    client = connect(version=version)
    client.send({"publish": packets.publish(text, version=version),
                 "subscribe": packets.subscribe(1, [(text, 0)], version),
                 "unsubscribe": packets.unsubscribe(1, [text], version)}[packet])
    client.expect_closed(Reason.MALFORMED_PACKET)


@each_ill_formed
@pytest.mark.parametrize("name", ["response_topic", "content_type", "user_property"])
@mqtt5("MQTT-1.5.7-1", "MQTT-3.3.2-13", "MQTT-3.3.2-19")
def test_ill_formed_utf8_in_a_property_closes(connect, text, name):
    client = connect()
    client.send_publish("a", properties={name: ("key", text) if name == "user_property" else text})
    client.expect_closed(Reason.MALFORMED_PACKET)


@each_current_version
@mqtt311("MQTT-1.5.3-3", "MQTT-4.7.3-4")
@mqtt5("MQTT-1.5.4-3", "MQTT-4.7.3-4")
def test_topics_are_not_normalised(connect, version, unique):
    """A byte order mark, a composed and a decomposed letter, upper and lower case, slashes: each is its own topic."""
    topics = [f"{unique}/{name}" for name in ("x", "\ufeffx", "é", "e\u0301", "X", "x/", "/x", "x//")]
    sub, pub = connect(version=version), connect(version=version, worker=1)
    for topic in topics:
        sub.subscribe(topic)
    for topic in topics:
        pub.publish(topic, topic.encode())
    received = sub.receive_many(len(topics))
    assert [(message.topic, message.payload.decode()) for message in received] == [(topic, topic) for topic in topics]


@each_current_version
@mqtt5("MQTT-1.5.5-1", "MQTT-2.2.2-1")
def test_lengths_are_encoded_in_the_fewest_bytes(connect, version, unique):
    """The remaining length around each power of 128; the test client refuses one that is longer than it need be."""
    sub, pub = connect(version=version), connect(version=version, worker=1)
    sub.subscribe(unique)
    for size in (0, 100, 117, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127, 128, 16370, 16384, 2097152):
        pub.publish(unique, bytes(size))
        assert sub.receive().payload == bytes(size)


@each_current_version
@mqtt5("MQTT-1.5.5-1")
def test_a_remaining_length_of_five_bytes_closes(connect, version):
    client = connect(version=version)
    client.send(b"\x30\x80\x80\x80\x80\x01")
    client.expect_closed(Reason.MALFORMED_PACKET)


@mqtt5("MQTT-1.5.5-1")
def test_a_property_length_that_is_not_minimal_closes(connect):
    client = connect()
    client.send(packets.frame(0x30, packets.utf8("a") + b"\x80\x00"))
    client.expect_closed(Reason.MALFORMED_PACKET)


WRONG_FLAGS = {
    "PUBACK": b"\x41\x02\x00\x01",
    "PUBREC": b"\x52\x02\x00\x01",
    "PUBREL-0": b"\x60\x02\x00\x01",
    "PUBREL-3": b"\x63\x02\x00\x01",
    "PUBCOMP": b"\x74\x02\x00\x01",
    "SUBSCRIBE-0": b"\x80" + packets.subscribe(1, [("a", 0)], packets.V311)[1:],
    "SUBSCRIBE-6": b"\x86" + packets.subscribe(1, [("a", 0)], packets.V311)[1:],
    "UNSUBSCRIBE-0": b"\xa0" + packets.unsubscribe(1, ["a"], packets.V311)[1:],
    "UNSUBSCRIBE-10": b"\xaa" + packets.unsubscribe(1, ["a"], packets.V311)[1:],
    "PINGREQ": b"\xc1\x00",
    "DISCONNECT": b"\xe8\x00",
    "AUTH": b"\xf2\x00",
}


@each_current_version
@pytest.mark.parametrize("data", WRONG_FLAGS.values(), ids=WRONG_FLAGS.keys())
@mqtt311("MQTT-2.2.2-1", "MQTT-2.2.2-2", "MQTT-3.6.1-1", "MQTT-3.8.1-1", "MQTT-3.10.1-1", "MQTT-3.14.1-1",
         "MQTT-4.8.0-1")
@mqtt5("MQTT-2.1.3-1", "MQTT-3.6.1-1", "MQTT-3.8.1-1", "MQTT-3.10.1-1", "MQTT-3.14.1-1", "MQTT-3.15.1-1")
def test_reserved_fixed_header_flags_are_malformed(connect, version, data):
    client = connect(version=version)
    client.send(data)
    client.expect_closed(Reason.MALFORMED_PACKET)


@each_current_version
@pytest.mark.parametrize("first_byte", [0x00, 0x20, 0x90, 0xB0, 0xD0])
@mqtt311("MQTT-4.8.0-1")
@mqtt5("MQTT-4.13.1-1")
def test_packets_that_only_a_server_sends_close(connect, version, first_byte):
    client = connect(version=version)
    client.send(bytes([first_byte, 2, 0, 1]))
    client.expect_closed()


@each_current_version
@pytest.mark.parametrize("packet", ["publish", "subscribe", "unsubscribe"])
@mqtt311("MQTT-2.3.1-1")
@mqtt5("MQTT-2.2.1-3")
def test_packet_identifier_zero_closes(connect, version, packet):
    client = connect(version=version)
    client.send({"publish": packets.publish("a", qos=1, packet_id=0, version=version),
                 "subscribe": packets.subscribe(0, [("a", 0)], version),
                 "unsubscribe": packets.unsubscribe(0, ["a"], version)}[packet])
    seen = client.expect_closed()
    assert version != V5 or seen[-1].reason in (Reason.MALFORMED_PACKET, Reason.PROTOCOL_ERROR)


@each_current_version
@mqtt311("MQTT-2.3.1-4", "MQTT-4.3.2-1", "MQTT-4.3.3-1")
@mqtt5("MQTT-2.2.1-4", "MQTT-4.3.2-1", "MQTT-4.3.3-1")
def test_packet_identifiers_of_the_server_are_not_zero_and_unused(connect, version, unique):
    sub, pub = connect(version=version), connect(version=version, worker=1)
    sub.subscribe(unique, qos=2)
    for number in range(10):
        pub.publish(unique, str(number).encode(), qos=1 + number % 2)
    in_flight = [sub.expect(Type.PUBLISH).packet_id for _ in range(10)]
    assert 0 not in in_flight and len(set(in_flight)) == 10


@each_current_version
@mqtt311("MQTT-2.3.1-5", "MQTT-4.3.1-1", "MQTT-3.3.1-2")
@mqtt5("MQTT-2.2.1-2", "MQTT-4.3.1-1", "MQTT-3.3.1-2")
def test_qos_0_has_no_packet_identifier_and_no_dup(connect, version, unique):
    sub, pub = connect(version=version), connect(version=version, worker=1)
    sub.subscribe(unique)
    pub.publish(unique, b"payload")
    sub.expect(Type.PUBLISH, qos=0, dup=False, packet_id=None, payload=b"payload")


@each_current_version
@mqtt311("MQTT-2.3.1-6", "MQTT-3.3.4-1", "MQTT-4.3.2-2", "MQTT-4.3.3-2")
@mqtt5("MQTT-2.2.1-5", "MQTT-3.3.4-1", "MQTT-4.3.2-4", "MQTT-4.3.3-8", "MQTT-4.3.3-11")
def test_acknowledgements_bear_the_identifier_of_the_publish(connect, version, unique):
    client = connect(version=version)
    client.send_publish(unique, qos=1, packet_id=12345)
    client.expect(Type.PUBACK, packet_id=12345)
    client.send_publish(unique, qos=2, packet_id=65535)
    client.expect(Type.PUBREC, packet_id=65535)
    client.pubrel(65535)
    client.expect(Type.PUBCOMP, packet_id=65535)
    client.send_publish(unique)
    client.expect_nothing()


@each_current_version
@mqtt311("MQTT-2.3.1-7", "MQTT-3.8.4-1", "MQTT-3.8.4-2", "MQTT-3.10.4-4")
@mqtt5("MQTT-2.2.1-6", "MQTT-3.8.4-1", "MQTT-3.8.4-2", "MQTT-3.10.4-4", "MQTT-3.10.4-5")
def test_suback_and_unsuback_bear_the_identifier_of_their_request(connect, version, unique):
    client = connect(version=version)
    client.send(packets.subscribe(4711, [(unique, 0)], version))
    client.expect(Type.SUBACK, packet_id=4711)
    client.send(packets.unsubscribe(65535, [unique], version))
    client.expect(Type.UNSUBACK, packet_id=65535)


@each_qos
@each_current_version
@mqtt5("MQTT-2.2.2-1")
def test_between_versions_payloads_are_the_same(connect, version, qos, unique):
    """A property length of zero is there for an MQTT 5 receiver and is not for an older one."""
    sub, pub = connect(version=version), connect(version=packets.V31, worker=1)
    sub.subscribe(unique, qos=qos)
    pub.publish(unique, b"\x00\x01payload", qos=qos)
    message = sub.receive(payload=b"\x00\x01payload", qos=qos)
    assert message.properties == {}
