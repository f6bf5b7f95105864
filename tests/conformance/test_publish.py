"""Section 3.3: PUBLISH."""
import pytest

from mm import packets
from mm.client import LENIENT
from mm.fixtures import Marker, each_current_version, each_version, mqtt5, mqtt311
from mm.packets import V311, Reason, Type

# ---------------------------------------------------------------- flags


@each_version
@pytest.mark.parametrize("qos", [1, 2])
@mqtt311("MQTT-3.3.1-1", "MQTT-3.3.1-3", "MQTT-2.3.1-3")
@mqtt5("MQTT-3.3.1-1", "MQTT-3.3.1-3")
def test_dup_is_set_on_redelivery_only(connect, version, qos, unique):
    """Not on the first delivery, even if the publisher had set it; with the same identifier on the second."""
    expiry = {"session_expiry_interval": 60}
    sub, pub = connect(unique, version=version, clean=False, properties=expiry), connect(version=version, worker=1)
    sub.subscribe(unique, qos=qos)
    pub.send_publish(unique, b"x", qos, packet_id=9, dup=True)
    if qos == 2:
        pub.expect(Type.PUBREC, packet_id=9)
        pub.pubrel(9)
    first = sub.expect(Type.PUBLISH, qos=qos, dup=False)
    sub.abort()
    again = connect(unique, version=version, clean=False, properties=expiry, worker=1)
    second = again.expect(Type.PUBLISH, qos=qos, dup=True, payload=b"x")
    assert second.packet_id == first.packet_id
    again.acknowledge(second)


@each_current_version
@pytest.mark.parametrize("flags", [0x36, 0x3E, 0x38], ids=["qos3", "qos3-dup", "qos0-dup"])
@mqtt311("MQTT-3.3.1-4", "MQTT-3.3.1-2")
@mqtt5("MQTT-3.3.1-4", "MQTT-3.3.1-2")
def test_impossible_flags_close(connect, version, flags):
    client = connect(version=version)
    client.send(bytes([flags]) + packets.publish("a", qos=1, packet_id=1, version=version)[1:])
    client.expect_closed(Reason.MALFORMED_PACKET)


# ---------------------------------------------------------------- retained messages


@each_version
@mqtt311("MQTT-3.3.1-5", "MQTT-3.3.1-6", "MQTT-3.3.1-7", "MQTT-3.3.1-8", "MQTT-3.3.1-9")
@mqtt5("MQTT-3.3.1-5", "MQTT-3.3.1-9", "MQTT-3.3.1-12")
def test_the_last_retained_message_is_sent_to_a_new_subscription(connect, version, unique):
    """With the RETAIN flag then, and without it to whoever was subscribed before."""
    sub, pub = connect(version=version), connect(version=version, worker=1)
    sub.subscribe(unique, qos=2)
    for qos in (2, 1, 0):
        pub.publish(unique, f"qos {qos}".encode(), qos=qos, retain=True)
        sub.receive(payload=f"qos {qos}".encode(), retain=False, qos=qos)
        late = connect(version=version, worker=1)
        late.subscribe(unique, qos=2)
        late.receive(payload=f"qos {qos}".encode(), retain=True, qos=qos)


@each_version
@mqtt311("MQTT-3.3.1-10", "MQTT-3.3.1-11")
@mqtt5("MQTT-3.3.1-6", "MQTT-3.3.1-7")
def test_an_empty_retained_message_removes_and_is_not_stored(connect, version, unique):
    sub, pub = connect(version=version), connect(version=version, worker=1)
    pub.publish(unique, b"kept", qos=1, retain=True)
    sub.subscribe(unique)
    sub.receive(payload=b"kept", retain=True)
    pub.publish(unique, b"", qos=1, retain=True)
    sub.receive(payload=b"", retain=False)
    late = connect(version=version)
    late.subscribe(unique)
    Marker(pub, late).expect_nothing()


@each_version
@mqtt311("MQTT-3.3.1-12")
@mqtt5("MQTT-3.3.1-8")
def test_a_message_without_retain_leaves_the_retained_one(connect, version, unique):
    pub = connect(version=version, worker=1)
    pub.publish(unique, b"kept", qos=1, retain=True)
    pub.publish(unique, b"passing", qos=1)
    pub.publish(unique, b"", qos=1)
    pub.publish(f"{unique}/other", b"never retained", qos=1)
    late = connect(version=version)
    late.subscribe(f"{unique}/#")
    late.receive(payload=b"kept", retain=True)
    Marker(pub, late).expect_nothing()


@mqtt5("MQTT-3.3.1-9", "MQTT-3.3.1-10", "MQTT-3.3.1-11", "MQTT-3.8.4-4")
def test_retain_handling(connect, unique):
    sub, pub = connect(), connect(worker=1)
    pub.publish(unique, b"kept", qos=1, retain=True)
    marker = Marker(pub, sub)

    def check(handling, replayed):
        sub.subscribe(unique, retain_handling=handling)
        if replayed:  # it may come from another worker, so behind the marker
            sub.receive(payload=b"kept", retain=True)
        assert marker.flush() == []

    check(2, replayed=False)  # never
    check(1, replayed=False)  # only for a new subscription, and this one exists
    check(0, replayed=True)   # always
    check(0, replayed=True)
    sub.unsubscribe(unique)
    check(1, replayed=True)


@mqtt5("MQTT-3.3.1-12", "MQTT-3.3.1-13")
def test_retain_as_published(connect, unique):
    plain, keeping, pub = connect(), connect(), connect(worker=1)
    plain.subscribe(unique)
    keeping.subscribe(unique, retain_as_published=True)
    for retain in (True, False):
        pub.publish(unique, b"x", retain=retain)
        plain.receive(retain=False)
        keeping.receive(retain=retain)


# ---------------------------------------------------------------- topic and properties


@each_current_version
@pytest.mark.parametrize("topic", ["a/+", "a/#", "#", "+", "a+b", "a#"])
@mqtt311("MQTT-3.3.2-2", "MQTT-4.7.1-1")
@mqtt5("MQTT-3.3.2-2", "MQTT-4.7.0-1")
def test_a_topic_name_with_wildcards_closes(connect, version, topic):
    client = connect(version=version)
    client.send_publish(topic)
    client.expect_closed(Reason.TOPIC_NAME_INVALID)


@each_current_version
@mqtt311("MQTT-4.7.3-1")
@mqtt5("MQTT-4.7.3-1")
def test_an_empty_topic_name_closes(connect, version):
    client = connect(version=version)
    client.send_publish("")
    seen = client.expect_closed()
    assert version == V311 or LENIENT or seen[-1].reason in (Reason.PROTOCOL_ERROR, Reason.TOPIC_NAME_INVALID,
                                                             Reason.MALFORMED_PACKET)


@each_current_version
@mqtt311("MQTT-3.3.2-1")
@mqtt5("MQTT-3.3.2-1")
def test_a_publish_without_topic_field_closes(connect, version):
    for body in (b"", b"\x00", b"\x00\x05ab"):
        client = connect(version=version)
        client.send(packets.frame(0x30, body))
        client.expect_closed(Reason.MALFORMED_PACKET)


@each_current_version
@mqtt311("MQTT-3.3.2-3")
@mqtt5("MQTT-3.3.2-3")
def test_the_topic_name_sent_is_the_one_published(connect, version, unique):
    sub, pub = connect(version=version), connect(version=version, worker=1)
    sub.subscribe(f"{unique}/+/c/#")
    pub.publish(f"{unique}/b/x", b"no match")
    pub.publish(f"{unique}/b/c", b"match")
    pub.publish(f"{unique}//c/d/e", b"match")
    assert [message.topic for message in sub.receive_many(2)] == [f"{unique}/b/c", f"{unique}//c/d/e"]


PASSED_ON = {
    "payload_format_indicator": [0, 1],
    "content_type": ["", "text/plain; charset=utf-8", "日本"],
    "response_topic": ["r", "a/very/long/" * 100 + "topic"],
    "correlation_data": [b"", bytes(range(256))],
    "user_property": [[("a", "1")], [("b", "1"), ("a", "2"), ("b", "1"), ("", "")]],
}


@pytest.mark.parametrize("name, value", [(name, value) for name, values in PASSED_ON.items() for value in values],
                         ids=lambda x: x if isinstance(x, str) and x in PASSED_ON else "")
@mqtt5("MQTT-3.3.2-4", "MQTT-3.3.2-15", "MQTT-3.3.2-16", "MQTT-3.3.2-17", "MQTT-3.3.2-18", "MQTT-3.3.2-20")
def test_properties_are_passed_on_unaltered(connect, name, value, unique):
    sub, pub = connect(), connect(worker=1)
    sub.subscribe(unique)
    pub.publish(unique, b"text", **{name: value})
    assert sub.receive().properties == {name: value}


@mqtt5("MQTT-3.3.2-4", "MQTT-3.3.2-15", "MQTT-3.3.2-16", "MQTT-3.3.2-17", "MQTT-3.3.2-18", "MQTT-3.3.2-20")
def test_properties_of_a_retained_message_are_passed_on_unaltered(connect, unique):
    properties = {name: values[-1] for name, values in PASSED_ON.items()}
    connect(worker=1).publish(unique, b"text", qos=1, retain=True, **properties)
    sub = connect()
    sub.subscribe(unique)
    assert sub.receive().properties == properties


@mqtt5("MQTT-3.3.2-6")
def test_message_expiry_is_passed_on(connect, unique):
    sub, pub = connect(), connect(worker=1)
    sub.subscribe(unique)
    pub.publish(unique, b"x", message_expiry_interval=100)
    assert sub.receive().properties["message_expiry_interval"] in (99, 100)


@mqtt5("MQTT-3.3.2-5", "MQTT-3.3.2-6")
def test_message_expiry_counts_down_and_deletes(connect, unique):
    """One message of a stored session expires while the other waits; the clock is a will that is a second late."""
    expiry = {"session_expiry_interval": 60}
    sub, pub = connect(unique, properties=expiry), connect(worker=1)
    sub.subscribe(unique, qos=1)
    sub.disconnect()
    pub.publish(unique, b"short", qos=1, message_expiry_interval=1)
    pub.publish(unique, b"long", qos=1, message_expiry_interval=100)
    wait_on_the_brokers_clock(connect, 2, unique)
    sub = connect(unique, clean=False, properties=expiry, worker=1)
    message = sub.receive(payload=b"long")
    assert 90 <= message.properties["message_expiry_interval"] <= 98
    Marker(pub, sub).expect_nothing()


def wait_on_the_brokers_clock(connect, seconds, unique):
    watcher = connect()
    watcher.subscribe(f"{unique}/clock")
    will = packets.Will(f"{unique}/clock", b"now", will_delay_interval=seconds)
    connect(will=will, properties={"session_expiry_interval": 60}).abort()
    watcher.receive(payload=b"now")


@mqtt5("MQTT-3.3.2-7", "MQTT-3.3.2-12")
def test_every_topic_alias_up_to_the_maximum_is_accepted(connect, unique):
    sub, pub = connect(), connect(worker=1)
    sub.subscribe(f"{unique}/#")
    aliases = range(1, pub.connack.properties["topic_alias_maximum"] + 1)
    for alias in aliases:
        pub.publish(f"{unique}/{alias}", topic_alias=alias)
    for alias in aliases:
        pub.publish("", topic_alias=alias)
    expected = [f"{unique}/{alias}" for alias in aliases]
    assert [message.topic for message in sub.receive_many(2 * len(expected))] == expected * 2
    pub.publish(f"{unique}/new", topic_alias=1)
    pub.publish("", topic_alias=1)
    assert [message.topic for message in sub.receive_many(2)] == [f"{unique}/new"] * 2


@mqtt5("MQTT-3.3.2-7")
def test_topic_aliases_do_not_outlive_the_connection(connect, unique):
    expiry = {"session_expiry_interval": 60}
    client = connect(unique, properties=expiry)
    client.publish(unique, qos=1, topic_alias=1)
    client.disconnect()
    client = connect(unique, clean=False, properties=expiry)
    client.send_publish("", properties={"topic_alias": 1})
    client.expect_closed(Reason.PROTOCOL_ERROR)


@pytest.mark.parametrize("alias", [0, 11, 65535])
@mqtt5("MQTT-3.3.2-8", "MQTT-3.3.2-9")
def test_a_topic_alias_out_of_range_closes(connect, alias):
    client = connect()
    client.send_publish("a", properties={"topic_alias": alias})
    client.expect_closed(Reason.TOPIC_ALIAS_INVALID)


@pytest.mark.parametrize("topic", ["a/#", "+"])
@mqtt5("MQTT-3.3.2-14")
def test_a_response_topic_with_wildcards_closes(connect, topic):
    client = connect()
    client.send_publish("a", properties={"response_topic": topic})
    client.expect_closed()


@mqtt5("MQTT-3.3.4-6")
def test_a_subscription_identifier_from_a_client_closes(connect):
    client = connect()
    client.send_publish("a", properties={"subscription_identifier": 1})
    client.expect_closed(Reason.PROTOCOL_ERROR)


# ---------------------------------------------------------------- actions


@each_version
@mqtt311("MQTT-3.3.5-1")
@mqtt5("MQTT-3.3.4-2")
def test_overlapping_subscriptions_get_the_highest_qos(connect, version, unique):
    """One copy of it, which is what mqtt-master chooses where the specification leaves a choice."""
    sub, pub = connect(version=version), connect(version=version, worker=1)
    sub.subscribe(f"{unique}/#", qos=0)
    sub.subscribe(f"{unique}/a", qos=2)
    sub.subscribe(f"{unique}/+", qos=1)
    pub.publish(f"{unique}/a", b"x", qos=2)
    assert sub.receive(payload=b"x").qos == 2
    if not LENIENT:
        Marker(pub, sub).expect_nothing()


@mqtt5("MQTT-3.3.4-3", "MQTT-3.3.4-4", "MQTT-3.3.4-5")
def test_overlapping_subscriptions_show_all_their_identifiers(connect, unique):
    sub, pub = connect(), connect(worker=1)
    sub.subscribe(f"{unique}/#", identifier=7)
    sub.subscribe(f"{unique}/a", identifier=268435455, qos=1)
    sub.subscribe(f"{unique}/+")
    sub.subscribe(f"{unique}/other", identifier=5)
    pub.publish(f"{unique}/a", b"x", qos=1)
    assert sorted(sub.receive().properties["subscription_identifier"]) == [7, 268435455]


@mqtt5("MQTT-3.3.4-9", "MQTT-3.3.4-10", "MQTT-4.9.0-1", "MQTT-4.9.0-2", "MQTT-4.9.0-3")
def test_receive_maximum_of_the_client_bounds_what_is_in_flight(connect, unique):
    """Two in flight and no more, QoS 0 and everything else still flows, an acknowledgement lets the next one out."""
    sub, pub = connect(properties={"receive_maximum": 2}), connect(worker=1)
    sub.subscribe(unique, qos=2)
    marker = Marker(pub, sub)
    sub.unsubscribe(marker.topic)
    sub.subscribe(f"{unique}/zero", qos=0)
    for number in range(5):
        pub.publish(unique, str(number).encode(), qos=1 + number % 2)
    pub.publish(f"{unique}/zero", b"not bounded")
    first, second = sub.expect(Type.PUBLISH), sub.expect(Type.PUBLISH)
    sub.expect(Type.PUBLISH, qos=0, payload=b"not bounded")
    sub.unsubscribe(f"{unique}/zero")
    sub.expect_nothing()
    sub.acknowledge(first)
    third = sub.expect(Type.PUBLISH, payload=b"2")
    sub.expect_nothing()
    sub.acknowledge(second)
    fourth = sub.expect(Type.PUBLISH, payload=b"3")
    sub.acknowledge(third)
    sub.acknowledge(fourth)
    sub.receive(payload=b"4")


@mqtt5("MQTT-4.9.0-2", "MQTT-3.3.4-9")
def test_a_refusing_pubrec_frees_its_place(connect, unique):
    sub, pub = connect(properties={"receive_maximum": 1}), connect(worker=1)
    sub.subscribe(unique, qos=2)
    pub.publish(unique, b"refused", qos=2)
    pub.publish(unique, b"next", qos=2)
    refused = sub.expect(Type.PUBLISH, payload=b"refused")
    sub.pubrec(refused.packet_id, Reason.UNSPECIFIED)
    sub.receive(payload=b"next")


@mqtt5("MQTT-3.3.4-7", "MQTT-3.3.4-8")
def test_more_than_the_receive_maximum_of_the_server_closes(connect, unique):
    client = connect()
    maximum = client.connack.properties["receive_maximum"]
    for number in range(maximum):
        client.send_publish(unique, b"x", qos=2, packet_id=number + 1)
    for number in range(maximum):
        client.expect(Type.PUBREC, packet_id=number + 1)
    client.fence()
    client.send_publish(unique, b"x", qos=2, packet_id=maximum + 1)
    client.expect_closed(Reason.RECEIVE_MAXIMUM_EXCEEDED)
