"""Section 3.1: CONNECT. What is right is accepted, everything else closes the connection."""
import select
import time

import pytest

from mm import packets
from mm.client import LENIENT
from mm.fixtures import Marker, each_current_version, each_version, mqtt5, mqtt311
from mm.packets import V5, V31, V311, Reason, Type, Will

MALFORMED_OR_PROTOCOL_ERROR = (Reason.MALFORMED_PACKET, Reason.PROTOCOL_ERROR)


def expect_refused(client, reasons=MALFORMED_OR_PROTOCOL_ERROR):
    """A malformed CONNECT: closed, and an MQTT 5 client is told why in a CONNACK."""
    seen = client.expect_closed()
    if client.version == V5 and not LENIENT:
        assert [packet.type for packet in seen] == [Type.CONNACK], seen
        assert seen[0].reason in reasons and not seen[0].session_present, seen
    else:
        assert not seen, seen


FIRST_PACKETS = {
    "PUBLISH": packets.publish("a", version=V311),
    "PUBACK": packets.acknowledge(Type.PUBACK, 1),
    "PUBREL": packets.acknowledge(Type.PUBREL, 1),
    "SUBSCRIBE": packets.subscribe(1, [("a", 0)], V311),
    "UNSUBSCRIBE": packets.unsubscribe(1, ["a"], V311),
    "PINGREQ": packets.PINGREQ,
    "DISCONNECT": packets.disconnect(),
    "AUTH": packets.auth(),
}


@pytest.mark.parametrize("data", FIRST_PACKETS.values(), ids=FIRST_PACKETS.keys())
@mqtt311("MQTT-3.1.0-1", "MQTT-3.2.0-1")
@mqtt5("MQTT-3.1.0-1", "MQTT-3.2.0-1", "MQTT-3.14.0-1")
def test_a_first_packet_that_is_not_connect_closes(open_socket, data):
    client = open_socket()
    client.send(data)
    assert client.expect_closed() == []


@each_version
@mqtt311("MQTT-3.1.0-2")
@mqtt5("MQTT-3.1.0-2", "MQTT-3.2.0-2")
def test_a_second_connect_closes(connect, version):
    client = connect(version=version)
    client.send(packets.connect(client.client_id, version))
    seen = client.expect_closed(Reason.PROTOCOL_ERROR)
    assert all(packet.type != Type.CONNACK for packet in seen)


@each_current_version
@pytest.mark.parametrize("name", ["", "mqtt", "MQTTX", "MQIsdp", "HTTP", b"\xff\xff\xff\xff"])
@mqtt311("MQTT-3.1.2-1")
@mqtt5("MQTT-3.1.2-1")
def test_a_wrong_protocol_name_closes(open_socket, version, name):
    client = open_socket()
    client.send(packets.connect("c", version, protocol_name=name))
    assert read_to_end(client) in (b"", b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00")


@pytest.mark.parametrize("level", [0, 1, 2, 6, 0x7F, 0xFF])
@mqtt311("MQTT-3.1.2-2", "MQTT-3.2.2-4", "MQTT-3.2.2-5")
@mqtt5("MQTT-3.1.2-2", "MQTT-3.2.2-6", "MQTT-3.2.2-7", "MQTT-4.13.2-1")
def test_an_unsupported_protocol_level_is_refused(open_socket, level):
    """In the form of the version that the client is nearer to: 0x01 of 3.1.1, or 0x84 of 5.0."""
    client = open_socket()
    client.send(packets.connect("c", V311, level=level))
    assert read_to_end(client) in (b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00")


def read_to_end(client):
    data = b""
    while chunk := client.socket.recv(1000):
        data += chunk
    return data


@each_current_version
@mqtt311("MQTT-3.1.2-3", "MQTT-3.1.4-1")
@mqtt5("MQTT-3.1.2-3", "MQTT-3.1.4-1")
def test_the_reserved_connect_flag_is_checked(open_socket, version):
    client = open_socket(version=version)
    client.send(packets.connect("c", version, flags=0x03))
    expect_refused(client)


# name: (connect flags, what follows the client identifier in the payload)
WRONG_FLAGS_AND_PAYLOADS = {
    "will-qos-without-will": (0x0A, b""),
    "will-retain-without-will": (0x22, b""),
    "will-qos-3": (0x1E, packets.utf8("t") + packets.binary(b"w")),
    "will-without-topic-and-payload": (0x06, b""),
    "will-without-payload": (0x06, packets.utf8("t")),
    "will-not-announced": (0x02, packets.utf8("t") + packets.binary(b"w")),
    "user-name-missing": (0x82, b""),
    "user-name-not-announced": (0x02, packets.utf8("u")),
    "password-missing": (0xC2, packets.utf8("u")),
    "password-not-announced": (0x82, packets.utf8("u") + packets.binary(b"p")),
    "length-beyond-the-packet": (0x82, b"\x00\x09u"),
}


@each_current_version
@pytest.mark.parametrize("case", WRONG_FLAGS_AND_PAYLOADS.values(), ids=WRONG_FLAGS_AND_PAYLOADS.keys())
@mqtt311("MQTT-3.1.2-9", "MQTT-3.1.2-11", "MQTT-3.1.2-13", "MQTT-3.1.2-14", "MQTT-3.1.2-15", "MQTT-3.1.2-18",
         "MQTT-3.1.2-19", "MQTT-3.1.2-20", "MQTT-3.1.2-21", "MQTT-3.1.3-1", "MQTT-3.1.4-1", "MQTT-3.2.2-6")
@mqtt5("MQTT-3.1.2-9", "MQTT-3.1.2-11", "MQTT-3.1.2-12", "MQTT-3.1.2-13", "MQTT-3.1.2-16", "MQTT-3.1.2-17",
       "MQTT-3.1.2-18", "MQTT-3.1.2-19", "MQTT-3.1.3-1", "MQTT-3.1.4-1", "MQTT-3.1.4-2")
def test_flags_and_payload_that_disagree_close(open_socket, version, case):
    flags, rest = case
    if version == V5 and flags & 0x04 and rest:
        rest = b"\x00" + rest
    body = packets.utf8("MQTT") + bytes([version, flags, 0, 60]) + (b"\x00" if version == V5 else b"")
    client = open_socket(version=version)
    client.send(packets.frame(0x10, body + packets.utf8("c") + rest))
    expect_refused(client)


@mqtt311("MQTT-3.1.2-22")
def test_a_password_needs_a_user_name_in_3_1_1(open_socket):
    client = open_socket(version=V311)
    client.send(packets.connect("c", V311, password=b"p"))
    expect_refused(client)


@mqtt5("MQTT-3.1.2-19")
def test_a_password_alone_is_allowed_in_5(connect):
    connect(password=b"p").expect_nothing()


@each_version
@mqtt311("MQTT-3.1.3-1", "MQTT-3.1.2-19", "MQTT-3.1.2-21", "MQTT-3.1.4-4")
@mqtt5("MQTT-3.1.3-1", "MQTT-3.1.2-17", "MQTT-3.1.2-19", "MQTT-3.1.4-5")
def test_all_payload_fields_in_their_order_are_accepted(connect, version, unique):
    """The will that comes out shows that every field was taken for what it is."""
    sub = connect(version=version)
    sub.subscribe(unique)
    client = connect(version=version, worker=1, will=Will(unique, b"will"), username="user", password=b"\x00secret")
    client.abort()
    sub.receive(topic=unique, payload=b"will")


@each_current_version
@mqtt311("MQTT-3.1.3-3", "MQTT-3.1.4-1")
@mqtt5("MQTT-3.1.3-3", "MQTT-3.1.4-1")
def test_a_connect_without_client_identifier_field_closes(open_socket, version):
    client = open_socket(version=version)
    body = packets.utf8("MQTT") + bytes([version, 2, 0, 60]) + (b"\x00" if version == V5 else b"")
    client.send(packets.frame(0x10, body))
    expect_refused(client)


@each_version
@mqtt311("MQTT-3.1.3-5")
@mqtt5("MQTT-3.1.3-5")
def test_every_plain_client_identifier_is_accepted(connect, version):
    letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    for name in ("0", letters[:23], letters[20:43], letters[-23:]):
        connect(name, version=version).disconnect()


@pytest.mark.parametrize("name", ["a" * 24, "ä/+#$ client", "x" * 1000])
@mqtt5("MQTT-3.1.3-5")
def test_longer_and_stranger_client_identifiers_are_accepted_too(connect, name):
    connect(name).disconnect()


@mqtt311("MQTT-3.1.3-6")
def test_a_zero_length_client_identifier_is_special_in_3_1_1(connect, unique):
    """Two such clients are two clients."""
    one, two = connect("", version=V311), connect("", version=V311, worker=1)
    one.subscribe(unique)
    two.subscribe(unique)
    two.publish(unique, b"x")
    one.receive(payload=b"x")
    two.receive(payload=b"x")


@mqtt5("MQTT-3.1.3-6", "MQTT-3.1.3-7", "MQTT-3.2.2-16")
def test_a_zero_length_client_identifier_is_assigned_one(connect):
    names = [connect("", worker=number).connack.properties["assigned_client_identifier"] for number in range(4)]
    assert all(names) and len(set(names)) == 4


@mqtt5("MQTT-3.1.3-7")
def test_an_assigned_client_identifier_is_a_client_identifier(connect):
    first = connect("", properties={"session_expiry_interval": 60})
    name = first.connack.properties["assigned_client_identifier"]
    first.disconnect()
    assert connect(name, clean=False, worker=1).connack.session_present


@mqtt311("MQTT-3.1.3-7", "MQTT-3.1.3-8", "MQTT-3.1.3-9", "MQTT-3.2.2-4", "MQTT-3.2.2-5")
def test_zero_length_client_identifier_needs_clean_session(open_socket):
    client = open_socket(version=V311)
    client.send(packets.connect("", V311, clean=False))
    client.expect(Type.CONNACK, reason=2, session_present=False)
    client.expect_closed()


@pytest.mark.parametrize("version, reason", [(V311, 2), (V5, Reason.CLIENT_IDENTIFIER_NOT_VALID)])
@mqtt311("MQTT-3.1.3-9")
@mqtt5("MQTT-3.1.3-8", "MQTT-3.2.2-7")
def test_a_client_identifier_that_the_server_rejects(broker_with, open_socket, version, reason):
    strict = broker_with(mqtt={"allow_zero_length_client_id": False})
    client = open_socket(version=version, at=strict)
    client.connect("", expect=reason)
    client.expect_closed()


@each_version
@mqtt311("MQTT-3.1.2-4", "MQTT-3.1.2-5", "MQTT-3.1.3-2", "MQTT-3.2.2-2", "MQTT-3.2.2-3", "MQTT-4.1.0-1",
         "MQTT-4.5.0-1")
@mqtt5("MQTT-3.1.2-5", "MQTT-3.1.2-6", "MQTT-3.1.2-23", "MQTT-3.1.3-2", "MQTT-3.2.2-3", "MQTT-4.5.0-1")
def test_a_session_is_resumed(connect, version, unique):
    """Session Present says so (3.1 has no such flag), subscriptions stay, and what was published meanwhile comes."""
    expiry = {"session_expiry_interval": 60}
    client = connect(unique, version=version, clean=False, properties=expiry)
    assert not client.connack.session_present
    client.subscribe(f"{unique}/a", qos=2)
    client.disconnect()
    pub = connect(worker=1)
    for qos in (1, 2):
        pub.publish(f"{unique}/a", b"stored", qos=qos)
    client = connect(unique, version=version, clean=False, properties=expiry, worker=1)
    assert version == V31 or client.connack.session_present
    assert [client.receive(payload=b"stored").qos for _ in range(2)] == [1, 2]


@each_version
@mqtt311("MQTT-3.1.2-6", "MQTT-3.1.4-3", "MQTT-3.2.2-1")
@mqtt5("MQTT-3.1.2-4", "MQTT-3.1.4-4", "MQTT-3.2.2-2")
def test_clean_start_discards_the_session(connect, version, unique):
    first = connect(unique, version=version, clean=False, properties={"session_expiry_interval": 60})
    first.subscribe(unique, qos=1)
    first.disconnect()
    pub = connect(worker=1)
    pub.publish(unique, b"stored", qos=1)
    second = connect(unique, version=version, clean=True)
    assert not second.connack.session_present
    pub.publish(unique, b"no longer subscribed", qos=1)
    Marker(pub, second).expect_nothing()


@mqtt311("MQTT-3.1.2-6")
def test_a_clean_session_ends_with_its_connection(connect, unique):
    connect(unique, version=V311, clean=True).disconnect()
    assert not connect(unique, version=V311, clean=False, worker=1).connack.session_present


@mqtt311("MQTT-3.1.2-7")
@mqtt5("MQTT-3.1.2-4")
def test_retained_messages_outlive_the_session_that_published_them(connect, unique):
    pub = connect(version=V311)
    pub.publish(unique, b"kept", qos=1, retain=True)
    pub.disconnect()
    sub = connect(worker=1)
    sub.subscribe(unique)
    sub.receive(payload=b"kept", retain=True)


# ---------------------------------------------------------------- the will


@each_version
@mqtt311("MQTT-3.1.2-8", "MQTT-3.1.2-10", "MQTT-3.1.2-16")
@mqtt5("MQTT-3.1.2-7", "MQTT-3.1.2-8", "MQTT-3.1.2-10", "MQTT-3.1.2-14")
def test_a_will_is_published_once_when_the_connection_breaks(connect, version, unique):
    sub, pub = connect(), connect(worker=1)
    sub.subscribe(unique, qos=2)
    client = connect(version=version, worker=1, will=Will(unique, b"gone", qos=1))
    client.abort()
    sub.receive(payload=b"gone", qos=1, retain=False)
    again = connect(client.client_id, version=version)
    again.abort()
    Marker(pub, sub).expect_nothing()
    late = connect()
    late.subscribe(unique)
    late.expect_nothing()


@each_current_version
@mqtt311("MQTT-3.1.2-17")
@mqtt5("MQTT-3.1.2-15")
def test_a_will_with_retain_is_retained(connect, version, unique):
    watcher = connect()
    watcher.subscribe(unique)
    connect(version=version, worker=1, will=Will(unique, b"gone", retain=True)).abort()
    watcher.receive(payload=b"gone", retain=False)
    late = connect()
    late.subscribe(unique)
    late.receive(payload=b"gone", retain=True)


@each_version
@mqtt311("MQTT-3.1.2-8", "MQTT-3.1.2-10", "MQTT-3.14.4-3", "MQTT-3.1.2-12")
@mqtt5("MQTT-3.1.2-8", "MQTT-3.1.2-10", "MQTT-3.14.4-3")
def test_a_normal_disconnect_discards_the_will(connect, version, unique):
    sub, pub = connect(), connect(worker=1)
    sub.subscribe(unique)
    connect(version=version, worker=1, will=Will(unique, b"gone")).disconnect()
    connect(version=version, worker=1).abort()
    Marker(pub, sub).expect_nothing()


@mqtt5("MQTT-3.1.2-8")
def test_disconnect_with_will_publishes_it(connect, unique):
    sub = connect()
    sub.subscribe(unique)
    connect(worker=1, will=Will(unique, b"gone")).disconnect(Reason.DISCONNECT_WITH_WILL)
    sub.receive(payload=b"gone")


@each_current_version
@mqtt311("MQTT-3.1.2-8")
@mqtt5("MQTT-3.1.2-8")
def test_a_protocol_error_publishes_the_will(connect, version, unique):
    sub = connect()
    sub.subscribe(unique)
    client = connect(version=version, worker=1, will=Will(unique, b"gone"))
    client.send(packets.frame(0xF1))
    client.expect_closed()
    sub.receive(payload=b"gone")


@mqtt5("MQTT-3.1.2-8", "MQTT-3.1.3-9")
def test_a_will_delay_is_waited_for(connect, unique):
    sub = connect()
    sub.subscribe(unique)
    client = connect(worker=1, will=Will(unique, b"gone", will_delay_interval=1),
                     properties={"session_expiry_interval": 60})
    client.abort()
    begin = time.monotonic()
    sub.receive(payload=b"gone")
    assert time.monotonic() - begin >= 0.99


@mqtt5("MQTT-3.1.2-8", "MQTT-3.1.3-9")
def test_a_new_connection_within_the_will_delay_cancels_the_will(connect, unique):
    expiry = {"session_expiry_interval": 60}
    sub, pub = connect(), connect(worker=1)
    sub.subscribe(unique)
    connect(f"{unique}-c", worker=1, will=Will(unique, b"gone", will_delay_interval=1), properties=expiry).abort()
    again = connect(f"{unique}-c", clean=False, properties=expiry)
    assert again.connack.session_present
    # A second will with the same delay that is not cancelled stands for the time that the first would have taken.
    sub.subscribe(f"{unique}/clock")
    connect(worker=1, will=Will(f"{unique}/clock", b"tick", will_delay_interval=1), properties=expiry).abort()
    sub.receive(topic=f"{unique}/clock")
    Marker(pub, sub).expect_nothing()


@mqtt5("MQTT-3.1.2-8", "MQTT-3.1.2-7")
def test_a_will_delay_ends_with_the_session(connect, unique):
    sub = connect()
    sub.subscribe(unique)
    connect(worker=1, will=Will(unique, b"gone", will_delay_interval=3600)).abort()
    sub.receive(payload=b"gone")


@mqtt5("MQTT-3.1.3-10")
def test_a_will_keeps_its_properties_and_their_order(connect, unique):
    pairs = [("b", "1"), ("a", "2"), ("b", "3"), ("", "")]
    properties = {"payload_format_indicator": 1, "content_type": "text", "response_topic": "r",
                  "correlation_data": b"\x00c", "user_property": pairs}
    sub = connect()
    sub.subscribe(unique)
    connect(worker=1, will=Will(unique, b"gone", **properties)).abort()
    assert sub.receive().properties == properties


# ---------------------------------------------------------------- keep alive, packet size, the answer


@mqtt311("MQTT-3.1.2-24")
@mqtt5("MQTT-3.1.2-22", "MQTT-3.2.2-22")
def test_keep_alive_is_enforced_at_one_and_a_half(connect, unique):
    sub = connect()
    sub.subscribe(f"{unique}/#")
    clients = [connect(version=version, worker=1, keep_alive=1, will=Will(f"{unique}/{version}", b"gone"))
               for version in (V31, V311, V5)]
    begin = time.monotonic()
    for client in clients:
        client.expect_closed(Reason.KEEP_ALIVE_TIMEOUT)
        assert 1.4 <= time.monotonic() - begin < 5
    assert {message.topic for message in sub.receive_many(3)} == {f"{unique}/{version}" for version in (V31, V311, V5)}


@each_current_version
@mqtt311("MQTT-3.1.2-24")
@mqtt5("MQTT-3.1.2-22")
def test_any_packet_keeps_a_connection_alive(connect, version, unique):
    """PINGREQ or PUBLISH once in half a period, over more than one and a half periods."""
    client = connect(version=version, keep_alive=1)
    for number in range(4):
        silent_for(client, 0.5)
        client.publish(unique, qos=1) if number % 2 else client.fence()


def silent_for(client, seconds):
    readable, _, _ = select.select([client.socket], [], [], seconds)
    assert not readable, f"something came: {client.next()}"


@mqtt5("MQTT-3.1.2-24", "MQTT-3.1.2-25")
def test_a_packet_too_large_for_the_client_is_discarded_as_if_sent(connect, unique):
    sub, pub = connect(properties={"maximum_packet_size": 200, "receive_maximum": 1}), connect(worker=1)
    sub.subscribe(unique, qos=2)
    for qos in (0, 1, 2):
        pub.publish(unique, bytes(300), qos=qos)
        pub.publish(unique, b"small", qos=qos)
        sub.receive(payload=b"small", qos=qos)
        assert sub.last_packet_size <= 200


@mqtt5("MQTT-3.1.2-26", "MQTT-3.3.2-11")
def test_topic_aliases_of_the_server_stay_within_the_maximum_of_the_client(connect, unique):
    sub, pub = connect(properties={"topic_alias_maximum": 2}), connect(worker=1)
    sub.subscribe(f"{unique}/#")
    names, seen = {}, []
    for number in (0, 1, 2, 3, 0, 1, 2, 3, 0):
        pub.publish(f"{unique}/{number}")
        message = sub.receive()
        alias = message.properties.get("topic_alias")
        assert alias is None or 1 <= alias <= 2
        if message.topic and alias:
            names[alias] = message.topic
        seen.append(message.topic or names[alias])
    assert seen == [f"{unique}/{number}" for number in (0, 1, 2, 3, 0, 1, 2, 3, 0)]


@pytest.mark.parametrize("properties", [{}, {"topic_alias_maximum": 0}], ids=["absent", "zero"])
@mqtt5("MQTT-3.1.2-27")
def test_no_topic_alias_for_a_client_that_allows_none(connect, properties, unique):
    sub, pub = connect(properties=properties), connect(worker=1)
    sub.subscribe(unique)
    for _ in range(3):
        pub.publish(unique)
        assert "topic_alias" not in sub.receive(topic=unique).properties


@pytest.mark.parametrize("properties", [{}, {"request_response_information": 0}], ids=["absent", "zero"])
@mqtt5("MQTT-3.1.2-28")
def test_no_response_information_unless_asked(connect, properties):
    assert "response_information" not in connect(properties=properties).connack.properties


@mqtt5("MQTT-3.1.2-29")
def test_no_reason_strings_for_a_client_that_wants_none(connect, unique):
    client = connect(properties={"request_problem_information": 0})
    client.send(packets.subscribe(1, [(unique, 1)]))
    answers = [client.expect(Type.SUBACK)]
    client.send(packets.unsubscribe(2, ["never-subscribed"]))
    answers.append(client.expect(Type.UNSUBACK))
    answers.append(client.publish(f"{unique}/nobody", qos=1))
    client.pubrel(77)
    answers.append(client.expect(Type.PUBCOMP))
    for answer in answers:
        assert not {"reason_string", "user_property"} & set(answer.properties), answer


@each_version
@mqtt311("MQTT-3.1.4-2")
@mqtt5("MQTT-3.1.4-3", "MQTT-4.13.2-1")
def test_a_second_connection_with_a_client_identifier_closes_the_first(connect, version, unique):
    for worker in (0, 1):
        old = connect(unique, version=version, worker=0)
        new = connect(unique, version=version, worker=worker)
        old.expect_closed(Reason.SESSION_TAKEN_OVER)
        new.expect_nothing()
        new.disconnect()


@mqtt311("MQTT-3.1.4-5")
@mqtt5("MQTT-3.1.4-6")
def test_what_follows_a_rejected_connect_is_not_processed(connect, broker_with, open_socket):
    strict = broker_with(mqtt={"allow_zero_length_client_id": False})
    sub = connect(at=strict)
    sub.subscribe("rejected")
    for version, reason in ((V311, 2), (V5, Reason.CLIENT_IDENTIFIER_NOT_VALID)):
        client = open_socket(version=version, at=strict)
        client.send(packets.connect("", version) + packets.publish("rejected", b"x", version=version))
        client.expect(Type.CONNACK, reason=reason)
        client.expect_closed()
    Marker(connect(at=strict), sub).expect_nothing()


@each_version
@mqtt311("MQTT-3.2.0-1", "MQTT-3.1.4-4")
@mqtt5("MQTT-3.2.0-1", "MQTT-3.1.4-5")
def test_packets_sent_before_connack_are_answered_after_it(open_socket, version, unique):
    client = open_socket(version=version)
    client.send(packets.connect(unique, version) + packets.subscribe(1, [(unique, 1)], version)
                + packets.publish(unique, b"x", 1, 2, version=version) + packets.PINGREQ)
    client.expect(Type.CONNACK, reason=0)
    answers = [client.next() for _ in range(4)]
    assert {answer.type for answer in answers} == {Type.SUBACK, Type.PUBACK, Type.PUBLISH, Type.PINGRESP}
