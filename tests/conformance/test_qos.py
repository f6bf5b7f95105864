"""Sections 3.4 to 3.7, 4.3 and 4.4: the QoS handshakes and what is sent again."""
import pytest

from mm import packets
from mm.fixtures import Marker, each_current_version, each_version, mqtt5, mqtt311
from mm.packets import V5, Reason, Type

EXPIRY = {"session_expiry_interval": 60}


@pytest.fixture
def resume(connect, unique):
    """resume() -> the test's durable client, connected again, on the next worker."""
    count = 0

    def again(version=V5, **fields):
        nonlocal count
        count += 1
        return connect(f"{unique}-durable", version=version, clean=False, worker=count, properties=EXPIRY, **fields)
    return again


# ---------------------------------------------------------------- the broker receives


@each_version
@mqtt311("MQTT-4.3.2-2")
@mqtt5("MQTT-4.3.2-4", "MQTT-4.3.2-5")
def test_after_puback_the_same_identifier_is_a_new_message(connect, version, unique):
    sub, pub = connect(version=version), connect(version=version, worker=1)
    sub.subscribe(unique)
    for payload, dup in ((b"one", False), (b"two", True)):
        pub.send_publish(unique, payload, qos=1, packet_id=5, dup=dup)
        pub.expect(Type.PUBACK, packet_id=5)
        sub.receive(payload=payload)


@each_version
@mqtt311("MQTT-4.3.3-2")
@mqtt5("MQTT-4.3.3-8", "MQTT-4.3.3-10", "MQTT-4.3.3-11", "MQTT-4.3.3-12")
def test_qos_2_is_received_once(connect, version, unique):
    """Repeats before PUBREL are acknowledged and not passed on; after PUBCOMP the identifier is new."""
    sub, pub = connect(version=version), connect(version=version, worker=1)
    sub.subscribe(unique)
    marker = Marker(pub, sub)
    for _ in range(3):
        pub.send_publish(unique, b"once", qos=2, packet_id=5, dup=True)
        pub.expect(Type.PUBREC, packet_id=5)
    for _ in range(2):
        pub.pubrel(5)
        pub.expect(Type.PUBCOMP, packet_id=5)
    assert [message.payload for message in marker.flush()] == [b"once"]
    pub.send_publish(unique, b"new", qos=2, packet_id=5)
    pub.expect(Type.PUBREC, packet_id=5)
    pub.pubrel(5)
    pub.expect(Type.PUBCOMP, packet_id=5)
    sub.receive(payload=b"new")


@each_version
@mqtt311("MQTT-4.3.3-2", "MQTT-4.4.0-1")
@mqtt5("MQTT-4.3.3-10", "MQTT-4.1.0-1")
def test_qos_2_is_received_once_across_a_reconnection(connect, version, unique, resume):
    sub, pub = connect(version=version), resume(version)
    sub.subscribe(unique)
    pub.send_publish(unique, b"once", qos=2, packet_id=5)
    pub.expect(Type.PUBREC, packet_id=5)
    pub.abort()
    pub = resume(version)
    pub.send_publish(unique, b"once", qos=2, packet_id=5, dup=True)
    pub.expect(Type.PUBREC, packet_id=5)
    pub.pubrel(5)
    pub.expect(Type.PUBCOMP, packet_id=5)
    sub.receive(payload=b"once")
    Marker(pub, sub).expect_nothing()


@mqtt5("MQTT-4.3.3-9")
def test_after_a_refusing_pubrec_the_identifier_is_a_new_message(broker_with, connect, unique):
    """The refusal here is that the only session that wants the message is offline and its queue is full."""
    small = broker_with(mqtt={"max_queued_messages": 1})
    full = connect(unique, at=small, properties=EXPIRY)
    full.subscribe("full", qos=2)
    full.disconnect()
    sub, pub = connect(at=small), connect(at=small)
    sub.subscribe("free")
    pub.publish("full", b"queued", qos=2)
    pub.send_publish("full", b"refused", qos=2, packet_id=5)
    pub.expect(Type.PUBREC, packet_id=5, reason=Reason.QUOTA_EXCEEDED)
    pub.send_publish("free", b"new", qos=2, packet_id=5)
    pub.expect(Type.PUBREC, packet_id=5, reason=0)
    pub.pubrel(5)
    pub.expect(Type.PUBCOMP, packet_id=5)
    sub.receive(payload=b"new")


@mqtt5("MQTT-4.3.3-13")
def test_an_expired_message_completes_its_handshake(connect, unique):
    pub = connect()
    pub.send_publish(unique, b"x", qos=2, packet_id=5, properties={"message_expiry_interval": 0})
    pub.expect(Type.PUBREC, packet_id=5)
    pub.pubrel(5)
    pub.expect(Type.PUBCOMP, packet_id=5, reason=0)


@mqtt5("MQTT-3.4.2-1", "MQTT-3.5.2-1", "MQTT-3.6.2-1", "MQTT-3.7.2-1", "MQTT-3.9.3-2", "MQTT-3.11.3-2")
def test_every_acknowledgement_has_a_reason_code_of_its_table(connect, unique):
    """The decoder of the test client refuses any other."""
    client = connect()
    client.subscribe(unique, qos=2)
    for qos in (1, 2):
        client.publish(unique, b"x", qos=qos)
        client.receive()
        client.publish(f"{unique}/nobody", b"x", qos=qos)
    client.pubrel(999)
    client.expect(Type.PUBCOMP, reason=Reason.PACKET_IDENTIFIER_NOT_FOUND)
    client.pubrec(998)
    client.expect(Type.PUBREL, packet_id=998, reason=Reason.PACKET_IDENTIFIER_NOT_FOUND)
    assert client.unsubscribe(unique, f"{unique}/never").reasons == [0, Reason.NO_SUBSCRIPTION_EXISTED]


@mqtt5("MQTT-3.4.2-1", "MQTT-3.5.2-1", "MQTT-3.6.2-1", "MQTT-3.7.2-1")
@pytest.mark.parametrize("type", [Type.PUBACK, Type.PUBREC, Type.PUBREL, Type.PUBCOMP], ids=lambda type: type.name)
def test_an_acknowledgement_with_a_reason_code_of_no_table_closes(connect, type):
    client = connect()
    client.send(packets.acknowledge(type, 1, 0x7F))
    client.expect_closed()


@each_current_version
@pytest.mark.parametrize("type", [Type.PUBACK, Type.PUBCOMP], ids=lambda type: type.name)
@mqtt311("MQTT-4.3.2-1")
@mqtt5("MQTT-4.3.2-3")
def test_an_acknowledgement_of_nothing_is_ignored(connect, version, type):
    client = connect(version=version)
    client.send(packets.acknowledge(type, 4711))
    client.expect_nothing()


# ---------------------------------------------------------------- the broker sends


@each_version
@mqtt311("MQTT-4.3.2-1")
@mqtt5("MQTT-4.3.2-1", "MQTT-4.3.2-2", "MQTT-4.3.2-3")
def test_qos_1_is_sent_and_unacknowledged_until_puback(connect, version, unique, resume):
    sub, pub = resume(version), connect(worker=1)
    sub.subscribe(unique, qos=1)
    pub.publish(unique, b"x", qos=1)
    message = sub.expect(Type.PUBLISH, qos=1, dup=False)
    sub.abort()
    sub = resume(version)
    sub.expect(Type.PUBLISH, qos=1, dup=True, packet_id=message.packet_id)
    sub.puback(message.packet_id)
    sub.fence()
    sub.abort()
    resume(version).expect_nothing()


@each_version
@mqtt311("MQTT-4.3.3-1")
@mqtt5("MQTT-4.3.3-1", "MQTT-4.3.3-2", "MQTT-4.3.3-3", "MQTT-4.3.3-4", "MQTT-4.3.3-5", "MQTT-4.3.3-6")
def test_qos_2_is_sent_in_its_steps(connect, version, unique, resume):
    """PUBLISH again until PUBREC, then PUBREL again, and never the PUBLISH, until PUBCOMP."""
    sub, pub = resume(version), connect(worker=1)
    sub.subscribe(unique, qos=2)
    pub.publish(unique, b"x", qos=2)
    packet_id = sub.expect(Type.PUBLISH, qos=2, dup=False).packet_id
    sub.abort()
    sub = resume(version)
    sub.expect(Type.PUBLISH, qos=2, dup=True, packet_id=packet_id)
    sub.pubrec(packet_id)
    sub.expect(Type.PUBREL, packet_id=packet_id)
    sub.abort()
    sub = resume(version)
    sub.expect(Type.PUBREL, packet_id=packet_id)
    sub.pubcomp(packet_id)
    sub.expect_nothing()
    sub.abort()
    resume(version).expect_nothing()


@mqtt5("MQTT-4.3.3-7")
def test_expiry_does_not_apply_to_what_was_sent(connect, unique, resume):
    sub, pub = resume(), connect(worker=1)
    sub.subscribe(unique, qos=2)
    pub.publish(unique, b"x", qos=2, message_expiry_interval=1)
    packet_id = sub.expect(Type.PUBLISH).packet_id
    sub.abort()
    clock = connect()
    clock.subscribe(f"{unique}/clock")
    connect(will=packets.Will(f"{unique}/clock", b"", will_delay_interval=2), properties=EXPIRY).abort()
    clock.receive()
    resume().expect(Type.PUBLISH, packet_id=packet_id, dup=True, payload=b"x")


@mqtt5("MQTT-4.4.0-2", "MQTT-4.3.3-4")
def test_what_a_client_refused_is_not_sent_again(connect, unique, resume):
    sub, pub = resume(), connect(worker=1)
    sub.subscribe(unique, qos=2)
    for qos, refuse in ((1, sub.puback), (2, sub.pubrec)):
        pub.publish(unique, b"x", qos=qos)
        refuse(sub.expect(Type.PUBLISH, qos=qos).packet_id, Reason.IMPLEMENTATION_SPECIFIC)
    sub.expect_nothing()
    sub.abort()
    resume().expect_nothing()


@each_version
@mqtt311("MQTT-4.4.0-1", "MQTT-4.6.0-1")
@mqtt5("MQTT-4.4.0-1")
def test_everything_unacknowledged_is_sent_again_in_order_and_only_then(connect, version, unique, resume):
    sub, pub = resume(version), connect(worker=1)
    sub.subscribe(unique, qos=2)
    for number in range(6):
        pub.publish(unique, str(number).encode(), qos=1 + number % 2)
    first = [sub.expect(Type.PUBLISH) for _ in range(6)]
    sub.pubrec(first[1].packet_id)
    sub.expect(Type.PUBREL, packet_id=first[1].packet_id)
    sub.puback(first[2].packet_id)
    sub.expect_nothing()
    sub.abort()
    sub = resume(version)
    again = [sub.next() for _ in range(5)]
    assert {packet.packet_id for packet in again} == {first[number].packet_id for number in (0, 1, 3, 4, 5)}
    published = [packet for packet in again if packet.type == Type.PUBLISH]
    assert [(packet.payload, packet.packet_id, packet.dup) for packet in published] == \
        [(str(number).encode(), first[number].packet_id, True) for number in (0, 3, 4, 5)]
    sub.expect_nothing()


@each_version
@mqtt311("MQTT-4.6.0-4", "MQTT-4.6.0-6")
@mqtt5("MQTT-4.3.3-4")
def test_pubrels_come_in_the_order_of_the_pubrecs(connect, version, unique):
    sub, pub = connect(version=version), connect(worker=1)
    sub.subscribe(unique, qos=2)
    for number in range(5):
        pub.publish(unique, str(number).encode(), qos=2)
    identifiers = [sub.expect(Type.PUBLISH).packet_id for _ in range(5)]
    for packet_id in identifiers[::-1]:
        sub.pubrec(packet_id)
    assert [sub.expect(Type.PUBREL).packet_id for _ in range(5)] == identifiers[::-1]


@each_current_version
@mqtt311("MQTT-4.6.0-2", "MQTT-4.6.0-3")
@mqtt5("MQTT-4.6.0-2", "MQTT-4.6.0-3")
def test_the_broker_too_acknowledges_in_order(connect, version, unique):
    client = connect(version=version)
    for qos, answer in ((1, Type.PUBACK), (2, Type.PUBREC)):
        identifiers = [9, 3, 7, 1, 5]
        for packet_id in identifiers:
            client.send_publish(unique, b"x", qos, packet_id=packet_id)
        assert [client.expect(answer).packet_id for _ in identifiers] == identifiers


# ---------------------------------------------------------------- order


@each_version
@pytest.mark.parametrize("qos", [0, 1, 2])
@mqtt311("MQTT-4.6.0-5", "MQTT-4.6.0-6")
@mqtt5("MQTT-4.6.0-5", "MQTT-4.6.0-6")
def test_messages_of_a_topic_arrive_in_order(connect, version, qos, unique):
    sub, pub = connect(version=version), connect(version=version, worker=1)
    sub.subscribe(unique, qos=qos)
    for number in range(60):
        pub.publish(unique, str(number).encode(), qos=qos)
    assert [int(message.payload) for message in sub.receive_many(60)] == list(range(60))
