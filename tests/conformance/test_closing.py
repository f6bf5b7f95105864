"""Sections 3.12 to 3.15, 4.1, 4.12 and 4.13: PINGREQ, DISCONNECT, AUTH, the end of sessions, errors."""
import pytest

from mm import packets
from mm.client import LENIENT
from mm.fixtures import Marker, each_current_version, each_version, mqtt5, mqtt311
from mm.packets import V311, Reason, Type, Will


@each_version
@mqtt311("MQTT-3.12.4-1")
@mqtt5("MQTT-3.12.4-1")
def test_pingreq_is_answered(connect, version):
    client = connect(version=version)
    client.send(packets.PINGREQ * 3)
    for _ in range(3):
        client.expect(Type.PINGRESP)


@each_current_version
@pytest.mark.parametrize("data", [b"\xc0\x01\x00", b"\xe0\x05\x00\x00\x00\x00\x00"], ids=["PINGREQ", "DISCONNECT"])
@mqtt311("MQTT-4.8.0-1")
@mqtt5("MQTT-4.13.1-1")
def test_bytes_too_many_close(connect, version, data):
    client = connect(version=version)
    client.send(data)
    client.expect_closed()


@each_version
@mqtt311("MQTT-3.14.4-1", "MQTT-3.14.4-2")
@mqtt5("MQTT-3.14.4-1", "MQTT-3.14.4-2")
def test_the_server_closes_and_processes_nothing_after_disconnect(connect, version, unique):
    sub, pub = connect(), connect(worker=1)
    sub.subscribe(unique)
    client = connect(version=version)
    client.send(packets.disconnect() + packets.publish(unique, b"too late", version=version))
    assert client.expect_closed() == []
    Marker(pub, sub).expect_nothing()


@mqtt5("MQTT-3.14.2-1")
def test_every_disconnect_reason_of_a_client_is_accepted(connect, unique):
    sub = connect()
    sub.subscribe(f"{unique}/#")
    for reason in (0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99):
        client = connect(worker=1, will=Will(f"{unique}/{reason}", b"gone"))
        assert client.disconnect(reason) == []
        if reason:
            sub.receive(topic=f"{unique}/{reason}")


@pytest.mark.parametrize("reason", [0x01, 0x8E, 0x7F])
@mqtt5("MQTT-3.14.2-1", "MQTT-4.13.1-1")
def test_a_disconnect_reason_that_no_client_may_send_closes(connect, reason):
    client = connect()
    client.send(packets.disconnect(reason))
    client.expect_closed()


@mqtt5("MQTT-3.14.2-2", "MQTT-3.14.4-2")
def test_disconnect_may_change_the_session_expiry(connect, unique):
    client = connect(unique, properties={"session_expiry_interval": 60})
    client.disconnect(0, session_expiry_interval=0)
    assert not connect(unique, clean=False).connack.session_present


@mqtt5("MQTT-4.13.1-1", "MQTT-3.14.2-2")
def test_disconnect_may_not_set_an_expiry_where_there_was_none(connect, unique):
    client = connect(unique)
    client.send(packets.disconnect(0, {"session_expiry_interval": 60}))
    client.expect_closed(Reason.PROTOCOL_ERROR)


@mqtt5("MQTT-4.1.0-2", "MQTT-4.1.0-1", "MQTT-3.1.2-23")
def test_a_session_ends_when_its_expiry_has_passed(connect, unique):
    """One with an interval of a second is gone when a will that is two seconds late has come; one of 60 s is not."""
    for name, expiry in (("short", 1), ("long", 60)):
        client = connect(f"{unique}-{name}", properties={"session_expiry_interval": expiry})
        client.subscribe(f"{unique}/{name}")
        client.disconnect()
    clock = connect()
    clock.subscribe(f"{unique}/clock")
    connect(will=Will(f"{unique}/clock", b"", will_delay_interval=2),
            properties={"session_expiry_interval": 60}).abort()
    clock.receive()
    assert not connect(f"{unique}-short", clean=False).connack.session_present
    assert connect(f"{unique}-long", clean=False, worker=1).connack.session_present


@mqtt311("MQTT-4.1.0-2")
@mqtt5("MQTT-4.1.0-1")
def test_a_session_lasts_as_long_as_its_connection(connect, unique):
    """Even one whose expiry interval is shorter than the connection."""
    sub, pub = connect(properties={"session_expiry_interval": 1}), connect(worker=1)
    sub.subscribe(unique)
    clock = connect()
    clock.subscribe(f"{unique}/clock")
    connect(will=Will(f"{unique}/clock", b"", will_delay_interval=2),
            properties={"session_expiry_interval": 60}).abort()
    clock.receive()
    pub.publish(unique, b"x")
    sub.receive(payload=b"x")


# ---------------------------------------------------------------- AUTH


@mqtt5("MQTT-4.12.0-1", "MQTT-4.12.0-4", "MQTT-3.2.2-7")
def test_an_authentication_method_that_is_not_supported_is_refused(open_socket):
    client = open_socket()
    client.connect("c", properties={"authentication_method": "NO-SUCH-METHOD"}, expect=Reason.BAD_AUTHENTICATION_METHOD)
    client.expect_closed()


@mqtt5("MQTT-4.12.0-6")
def test_without_a_method_there_is_no_auth_and_no_method_in_connack(connect):
    client = connect(username="u", password=b"p")
    assert not {"authentication_method", "authentication_data"} & set(client.connack.properties)
    client.expect_nothing()


@pytest.mark.parametrize("reason", [Reason.CONTINUE_AUTHENTICATION, Reason.RE_AUTHENTICATE, Reason.SUCCESS])
@mqtt5("MQTT-4.12.0-7", "MQTT-4.12.1-1", "MQTT-4.12.1-2", "MQTT-3.15.2-1")
def test_auth_without_a_method_in_connect_closes(connect, reason):
    client = connect()
    client.send(packets.auth(reason, {"authentication_method": "X"}))
    client.expect_closed(Reason.PROTOCOL_ERROR)


@mqtt5("MQTT-4.13.1-1")
def test_authentication_data_without_a_method_is_refused(open_socket):
    client = open_socket()
    client.send(packets.connect("c", properties={"authentication_data": b"x"}))
    seen = client.expect_closed()
    assert LENIENT or seen[0].reason == Reason.PROTOCOL_ERROR


@mqtt311("MQTT-4.8.0-1")
def test_auth_is_no_packet_of_3_1_1(connect):
    client = connect(version=V311)
    client.send(b"\xf0\x00")
    client.expect_closed()


# ---------------------------------------------------------------- the transport, errors


@each_version
@mqtt311("MQTT-7.1.1-1", "MQTT-7.0.0-2")
@mqtt5("MQTT-4.2-1")
def test_tcp_is_a_stream_of_bytes(open_socket, version, unique):
    """However the packets are cut into segments."""
    stream = (packets.connect(unique, version) + packets.subscribe(1, [(unique, 2)], version)
              + packets.publish(unique, b"x" * 200, 2, 2, version=version)
              + packets.acknowledge(Type.PUBREL, 2) + packets.PINGREQ)
    for cut in (1, 2, 3, 7, len(stream)):
        client = open_socket(version=version)
        for at in range(0, len(stream), cut):
            client.send(stream[at:at + cut])
        client.expect(Type.CONNACK, reason=0)
        client.wait_for(Type.PINGRESP)
        client.wait_for(Type.SUBACK, reasons=[2])
        client.wait_for(Type.PUBREC, packet_id=2)
        client.wait_for(Type.PUBCOMP, packet_id=2)
        client.acknowledge(client.wait_for(Type.PUBLISH, payload=b"x" * 200))
        client.disconnect()



PROPERTIES_IN_THE_WRONG_PLACE = {
    "unknown": b"\x7f\x00",
    "of-another-packet": b"\x27\x00\x00\x01\x00",
    "twice": b"\x01\x00\x01\x00",
    "value-out-of-range": b"\x01\x02",
    "cut-off": b"\x02\x00",
}


@pytest.mark.parametrize("data", PROPERTIES_IN_THE_WRONG_PLACE.values(), ids=PROPERTIES_IN_THE_WRONG_PLACE.keys())
@mqtt5("MQTT-4.13.1-1", "MQTT-4.13.2-1")
def test_wrong_properties_close_with_a_reason(connect, data):
    client = connect()
    client.send_publish("a", properties=data)
    seen = client.expect_closed()
    assert LENIENT or seen[-1].reason in (Reason.MALFORMED_PACKET, Reason.PROTOCOL_ERROR)


CONNECT_PROPERTIES = {
    "receive-maximum-0": {"receive_maximum": 0},
    "maximum-packet-size-0": {"maximum_packet_size": 0},
    "request-problem-information-2": {"request_problem_information": 2},
    "request-response-information-2": {"request_response_information": 2},
    "session-expiry-twice": {"session_expiry_interval": [1, 1]},
    "publish-property": {"content_type": "x"},
}


@pytest.mark.parametrize("properties", CONNECT_PROPERTIES.values(), ids=CONNECT_PROPERTIES.keys())
@mqtt5("MQTT-4.13.1-1", "MQTT-3.1.4-1")
def test_wrong_properties_of_connect_are_refused(open_socket, properties):
    client = open_socket()
    client.send(packets.connect("c", properties=properties))
    seen = client.expect_closed()
    assert LENIENT or seen[0].reason in (Reason.MALFORMED_PACKET, Reason.PROTOCOL_ERROR)


@each_current_version
@mqtt311("MQTT-4.8.0-1")
@mqtt5("MQTT-4.13.1-1", "MQTT-4.13.2-1")
def test_an_error_of_one_client_does_not_touch_another(connect, version, unique):
    sub, pub = connect(version=version), connect(version=version, worker=1)
    sub.subscribe(unique, qos=1)
    for worker in (0, 1):
        broken = connect(version=version, worker=worker)
        broken.send(b"\x00\xff\xff\xff\xff\xff")
        broken.expect_closed(Reason.MALFORMED_PACKET)
    pub.publish(unique, b"x", qos=1)
    sub.receive(payload=b"x")
