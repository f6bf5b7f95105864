"""Section 3.2: CONNACK, and what it says about the server."""
import pytest

from mm import packets
from mm.client import LENIENT
from mm.fixtures import each_current_version, each_version, mqtt5, mqtt311
from mm.packets import Reason, Type, Will


@each_version
@mqtt311("MQTT-3.1.4-4", "MQTT-3.2.0-1")
@mqtt5("MQTT-3.2.0-1", "MQTT-3.2.0-2", "MQTT-3.2.2-1", "MQTT-3.2.2-8")
def test_one_connack_comes_first(open_socket, version, unique):
    """The decoder checks the reserved flags and the reason code."""
    client = open_socket(version=version)
    client.send(packets.connect(unique, version) + packets.PINGREQ)
    client.expect(Type.CONNACK, reason=0, session_present=False)
    client.expect(Type.PINGRESP)
    client.expect_nothing()


@pytest.mark.skipif(LENIENT, reason="values of mqtt-master's defaults")
@mqtt5("MQTT-3.2.2-9", "MQTT-3.2.2-1")
def test_connack_states_the_limits_of_the_server(connect):
    """What is absent has the specification's default: QoS 2, retain, wildcards, identifiers and shares are there."""
    properties = connect().connack.properties
    assert properties.get("maximum_qos", 2) == 2
    for name in ("retain_available", "wildcard_subscription_available", "subscription_identifiers_available",
                 "shared_subscription_available"):
        assert properties.get(name, 1) == 1
    assert properties["receive_maximum"] == 20
    assert properties["topic_alias_maximum"] == 10
    assert "assigned_client_identifier" not in properties and "server_keep_alive" not in properties


@mqtt5("MQTT-3.2.2-13")
def test_a_retained_will_is_refused_where_retain_is_not_available(broker_with, open_socket):
    no_retain = broker_with(mqtt={"retain_available": False})
    client = open_socket(at=no_retain)
    client.connect("c", will=Will("w", b"x", retain=True), expect=Reason.RETAIN_NOT_SUPPORTED)
    client.expect_closed()


@mqtt5("MQTT-3.2.2-13")
def test_a_retained_publish_is_refused_where_retain_is_not_available(broker_with, connect):
    client = connect(at=broker_with(mqtt={"retain_available": False}))
    assert client.connack.properties["retain_available"] == 0
    client.send_publish("t", b"x", retain=True)
    client.expect_closed(Reason.RETAIN_NOT_SUPPORTED)


@mqtt5("MQTT-3.2.2-19", "MQTT-3.2.2-20", "MQTT-3.9.2-1", "MQTT-3.9.2-2", "MQTT-3.11.2-1", "MQTT-3.11.2-2",
       "MQTT-3.4.2-2", "MQTT-3.4.2-3", "MQTT-3.5.2-2", "MQTT-3.5.2-3", "MQTT-3.6.2-2", "MQTT-3.6.2-3",
       "MQTT-3.7.2-2", "MQTT-3.7.2-3", "MQTT-3.1.2-24")
def test_reason_strings_give_way_to_the_maximum_packet_size(connect, unique):
    """Acknowledgements that could carry a reason string come without it where there is no room for it."""
    client = connect(properties={"maximum_packet_size": 40})
    sizes = [client.last_packet_size]
    client.send(packets.subscribe(1, [("$share/x", 0)]))
    client.expect(Type.SUBACK)
    sizes.append(client.last_packet_size)
    client.unsubscribe("never/subscribed")
    sizes.append(client.last_packet_size)
    for qos in (1, 2):
        client.publish(f"{unique}/nobody/listens", qos=qos)
        sizes.append(client.last_packet_size)
    client.pubrel(999)
    client.expect(Type.PUBCOMP)
    sizes.append(client.last_packet_size)
    client.pubrec(998)
    client.expect(Type.PUBREL)
    sizes.append(client.last_packet_size)
    assert max(sizes) <= 40


@mqtt5("MQTT-3.14.2-3", "MQTT-3.14.2-4")
def test_a_disconnect_of_the_server_keeps_to_the_maximum_packet_size(connect):
    client = connect(properties={"maximum_packet_size": 40})
    client.send(packets.frame(0xC1))
    client.expect_closed(Reason.MALFORMED_PACKET)
    assert client.last_packet_size <= 40


@mqtt5("MQTT-3.2.2-21", "MQTT-3.2.2-22", "MQTT-3.1.2-21")
def test_a_server_keep_alive_is_announced_and_used(broker_with, connect):
    strict = broker_with(mqtt={"max_keepalive": 1})
    lax = connect(at=strict, keep_alive=60)
    assert lax.connack.properties["server_keep_alive"] == 1
    lax.expect_closed(Reason.KEEP_ALIVE_TIMEOUT, timeout=5)


@each_current_version
@mqtt311("MQTT-3.2.2-3")
@mqtt5("MQTT-3.2.2-3")
def test_without_a_session_session_present_is_zero(connect, version, unique):
    assert not connect(unique, version=version, clean=False).connack.session_present
