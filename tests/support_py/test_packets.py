"""The test client's own codec: what the other tests trust."""
import pytest

from mm import packets
from mm.packets import V5, V31, V311, Malformed, Type


@pytest.mark.parametrize("value, data", [(0, b"\x00"), (127, b"\x7f"), (128, b"\x80\x01"), (16383, b"\xff\x7f"),
                                         (16384, b"\x80\x80\x01"), (268435455, b"\xff\xff\xff\x7f")])
def test_variable_byte_integers(value, data):
    assert packets.varint(value) == data
    assert packets.Reader(data).varint() == value


def test_connect_is_these_bytes():
    will = packets.Will("t", b"w", qos=1, retain=True, will_delay_interval=5)
    assert packets.connect("c", V5, False, 60, will, "u", b"p", {"receive_maximum": 7}) == bytes.fromhex(
        "10 23"                  # CONNECT, remaining length
        "00 04 4d 51 54 54 05"   # MQTT, 5
        "ec 00 3c"               # user name, password, will retain, will QoS 1, will; 60 s
        "03 21 00 07"            # Receive Maximum 7
        "00 01 63"               # client identifier c
        "05 18 00 00 00 05"      # will delay 5 s
        "00 01 74 00 01 77"      # will topic t, will payload w
        "00 01 75 00 01 70")     # user name u, password p
    assert packets.connect("c", V31)[2:11] == b"\x00\x06MQIsdp\x03"


def decode(data, version=V5):
    return packets.decode(data[0], data[2:], version)


def test_a_publish_comes_back_as_it_was():
    properties = {"user_property": [("a", "1"), ("a", "2")], "subscription_identifier": [1, 300], "content_type": "x"}
    data = packets.publish("a/b", b"payload", 2, 7, retain=True, dup=True, properties=properties)
    packet = decode(data)
    assert (packet.topic, packet.payload, packet.qos, packet.packet_id, packet.retain, packet.dup) == \
        ("a/b", b"payload", 2, 7, True, True)
    assert packet.properties == properties


NEVER_FROM_A_BROKER = {
    "type 0": b"\x00\x00",
    "CONNECT": packets.connect("c"),
    "flags": b"\x41\x02\x00\x01",
    "QoS 3": b"\x36\x06\x00\x01a\x00\x01\x00",
    "DUP at QoS 0": b"\x38\x04\x00\x01a\x00",
    "packet identifier 0": packets.publish("a", qos=1, packet_id=0),
    "property of CONNECT": packets.publish("a", properties={"receive_maximum": 1}),
    "property twice": packets.publish("a", properties={"content_type": ["a", "b"]}),
    "reason of no table": packets.acknowledge(Type.PUBACK, 1, 0x92),
    "bytes too many": b"\xd0\x01\x00",
    "cut off": packets.publish("abc")[:-3],
}


@pytest.mark.parametrize("data", NEVER_FROM_A_BROKER.values(), ids=NEVER_FROM_A_BROKER.keys())
def test_what_no_broker_may_send_is_malformed(data):
    with pytest.raises(Malformed):
        decode(data)


def test_an_older_client_is_sent_neither_disconnect_nor_auth():
    for data in (packets.disconnect(), packets.auth()):
        with pytest.raises(Malformed):
            decode(data, V311)
