"""Section 4.8: shared subscriptions."""
import select

import pytest

from mm import packets
from mm.client import LENIENT
from mm.fixtures import Marker, mqtt5
from mm.packets import Reason, Type

EXPIRY = {"session_expiry_interval": 60}


@pytest.mark.parametrize("name", ["$share/", "$share//a", "$share/g", "$share/g/", "$share/g+/a",
                                  "$share/#/a", "$share/+/a", "$share/g/a#"])
@mqtt5("MQTT-4.8.2-1", "MQTT-4.8.2-2")
def test_a_badly_formed_share_is_refused(connect, name):
    client = connect()
    client.send(packets.subscribe(1, [(name, 0)]))
    answer = client.next()
    if answer.type == Type.SUBACK:
        assert answer.reasons[0] >= 0x80
    else:
        assert answer.type == Type.DISCONNECT and answer.reason >= 0x80


@pytest.mark.parametrize("name", ["$share/g/a", "$share/g/#", "$share/g/+/b", "$share/g//", "$share/ü g/a"])
@mqtt5("MQTT-4.8.2-1", "MQTT-4.8.2-2")
def test_a_well_formed_share_is_granted(connect, name):
    client = connect()
    client.subscribe(name, qos=2)
    assert client.unsubscribe(name).reasons == [0]


@mqtt5("MQTT-3.8.3-4")
def test_no_local_on_a_share_closes(connect):
    client = connect()
    client.send(packets.subscribe(1, [("$share/g/a", packets.subscription_options(no_local=True))]))
    client.expect_closed(Reason.PROTOCOL_ERROR)


@mqtt5("MQTT-4.8.2-3")
def test_a_share_respects_the_granted_qos_of_the_member(connect, unique):
    for granted in range(3):
        sub, pub = connect(worker=granted), connect(worker=1)
        sub.subscribe(f"$share/g/{unique}/{granted}", qos=granted)
        for published in range(3):
            pub.publish(f"{unique}/{granted}", qos=published)
            sub.receive(qos=min(granted, published))


@pytest.mark.parametrize("workers", [(0, 0), (0, 1)], ids=["same-worker", "two-workers"])
@mqtt5("MQTT-4.8.2-4")
def test_a_qos_2_message_in_flight_waits_for_its_member(connect, workers, unique):
    """Its connection breaks; it gets the message when it comes back, the other member does not."""
    members = {name: connect(name, worker=worker, properties=EXPIRY)
               for name, worker in zip((f"{unique}-a", f"{unique}-b"), workers)}
    for member in members.values():
        member.subscribe(f"$share/g/{unique}", qos=2)
    pub = connect(worker=1)
    pub.publish(unique, b"x", qos=2)
    name, message = the_one_that_receives(members)
    members[name].abort()
    other = members[next(other for other in members if other != name)]
    again = connect(name, clean=False, properties=EXPIRY)
    again.expect(Type.PUBLISH, dup=True, payload=b"x", packet_id=message.packet_id)
    again.acknowledge(message)
    Marker(pub, other).expect_nothing()


def the_one_that_receives(members):
    by_socket = {member.socket: name for name, member in members.items()}
    readable, _, _ = select.select(list(by_socket), [], [], 10)
    name = by_socket[readable[0]]
    return name, members[name].expect(Type.PUBLISH)


@mqtt5("MQTT-4.8.2-5")
def test_a_qos_2_message_in_flight_ends_with_its_session(connect, unique):
    members = {name: connect(name, worker=number) for number, name in enumerate((f"{unique}-a", f"{unique}-b"))}
    for member in members.values():
        member.subscribe(f"$share/g/{unique}", qos=2)
    pub = connect(worker=1)
    pub.publish(unique, b"x", qos=2)
    name, _ = the_one_that_receives(members)
    members[name].disconnect()
    Marker(pub, next(member for other, member in members.items() if other != name)).expect_nothing()


@pytest.mark.parametrize("qos", [1, 2])
@mqtt5("MQTT-4.8.2-6")
def test_a_message_that_a_member_refuses_is_given_to_nobody_else(connect, qos, unique):
    members = {name: connect(name, worker=number) for number, name in enumerate((f"{unique}-a", f"{unique}-b"))}
    for member in members.values():
        member.subscribe(f"$share/g/{unique}", qos=2)
    pub = connect(worker=1)
    pub.publish(unique, b"x", qos=qos)
    name, message = the_one_that_receives(members)
    refuse = members[name].puback if qos == 1 else members[name].pubrec
    refuse(message.packet_id, Reason.UNSPECIFIED)
    members[name].fence()
    for member in members.values():
        Marker(pub, member).expect_nothing()


@mqtt5("MQTT-4.8.2-3")
def test_each_share_and_each_plain_subscription_gets_its_copy(connect, unique):
    share_one, share_two, plain = connect(), connect(worker=1), connect(worker=1)
    share_one.subscribe(f"$share/one/{unique}", qos=1)
    share_two.subscribe(f"$share/two/{unique}", qos=1)
    plain.subscribe(unique, qos=1)
    connect().publish(unique, b"x", qos=1)
    for client in (share_one, share_two, plain):
        client.receive(payload=b"x")


@pytest.mark.skipif(LENIENT, reason="Mosquitto 2.0.11 sends retained messages to shares")
@mqtt5("MQTT-3.3.1-9")
def test_a_share_gets_no_retained_messages(connect, unique):
    pub, sub = connect(worker=1), connect()
    pub.publish(unique, b"kept", qos=1, retain=True)
    sub.subscribe(f"$share/g/{unique}")
    Marker(pub, sub).expect_nothing()
