"""One client id, one session and one connection in the whole cluster (C7); wills; shared subscriptions."""
import concurrent.futures
import time

import pytest

from mm.broker import eventually
from mm.client import Client, Closed
from mm.fixtures import Marker, each_qos, each_version
from mm.packets import V5, Reason, Type, Will

EXPIRY = {"session_expiry_interval": 600}


def durable(connect, host, client_id, **fields):
    return connect(host, client_id, clean=False, properties=EXPIRY, **fields)


@each_version
def test_client_that_connects_elsewhere_is_closed_here(shared_cluster, connect, unique, version):
    a, b = shared_cluster
    first = connect(a, unique, version=version)
    second = connect(b, unique, version=version)
    first.expect_closed(Reason.SESSION_TAKEN_OVER)
    third = connect(a, unique, version=version, worker=1)
    second.expect_closed(Reason.SESSION_TAKEN_OVER)
    third.expect_nothing()


def test_session_moves_with_subscriptions_and_queue(shared_cluster, connect, unique):
    a, b = shared_cluster
    client = durable(connect, a, unique)
    client.subscribe(f"{unique}/#", qos=2)
    client.disconnect()
    publishers = [connect(a, worker=1), connect(b)]
    for i in range(40):
        publishers[i % 2].publish(f"{unique}/{i % 2}", b"%d" % i, qos=1 + i // 2 % 2)
    for host in (b, a, b):
        moved = durable(connect, host, unique)
        assert moved.connack.session_present
    messages = moved.receive_many(40)
    for parity in (0, 1):
        assert [int(m.payload) for m in messages if int(m.payload) % 2 == parity] == list(range(parity, 40, 2))
    publishers[0].publish(f"{unique}/live", b"x", qos=1)
    moved.receive(payload=b"x")
    moved.expect_nothing()


def test_in_flight_state_moves(shared_cluster, connect, unique):
    a, b = shared_cluster
    client = durable(connect, a, unique)
    client.subscribe(unique, qos=2)
    publisher = connect(b)
    publisher.publish(unique, b"one", qos=1)
    publisher.publish(unique, b"two", qos=2)
    publisher.publish(unique, b"three", qos=2)
    one, two, three = (client.expect(Type.PUBLISH) for _ in range(3))
    client.pubrec(two.packet_id)
    client.wait_for(Type.PUBREL, packet_id=two.packet_id)
    moved = durable(connect, b, unique)
    again = [moved.next() for _ in range(3)]
    publishes = {p.packet_id: (p.payload, p.dup) for p in again if p.type == Type.PUBLISH}
    assert publishes == {one.packet_id: (b"one", True), three.packet_id: (b"three", True)}
    assert [p.packet_id for p in again if p.type == Type.PUBREL] == [two.packet_id]
    moved.puback(one.packet_id)
    moved.pubcomp(two.packet_id)
    moved.pubrec(three.packet_id)
    moved.wait_for(Type.PUBREL, packet_id=three.packet_id)
    moved.pubcomp(three.packet_id)
    moved.expect_nothing()


def test_incoming_qos2_goes_on_elsewhere(shared_cluster, connect, unique):
    a, b = shared_cluster
    subscriber = connect(b)
    subscriber.subscribe(unique, qos=2)
    client = durable(connect, a, f"{unique}-c")
    client.send_publish(unique, b"once", qos=2, packet_id=9)
    client.wait_for(Type.PUBREC, packet_id=9)
    moved = durable(connect, b, f"{unique}-c")
    moved.send_publish(unique, b"once", qos=2, packet_id=9, dup=True)
    moved.wait_for(Type.PUBREC, packet_id=9)
    moved.pubrel(9)
    moved.wait_for(Type.PUBCOMP, packet_id=9)
    subscriber.receive(payload=b"once")
    subscriber.expect_nothing()


@pytest.mark.parametrize("qos", [1, 2])
def test_nothing_is_lost_while_a_client_hops(shared_cluster, connect, unique, qos):
    """Messages in motion during takeovers: each once, in order (QoS 1 and 2)."""
    count = 200
    a, b = shared_cluster
    durable(connect, a, unique).subscribe(f"{unique}/#", qos=qos)
    publishers = [connect(a, worker=1), connect(b, worker=1)]

    def publish(number):
        for i in range(count):
            publishers[number].publish(f"{unique}/{number}", b"%d" % i, qos=qos)

    seen = {f"{unique}/0": [], f"{unique}/1": []}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = [pool.submit(publish, number) for number in (0, 1)]
        hop = 0
        deadline = time.monotonic() + 60
        while sum(len(set(numbers)) for numbers in seen.values()) < 2 * count:
            assert time.monotonic() < deadline, {topic: len(set(numbers)) for topic, numbers in seen.items()}
            hop += 1
            client = durable(connect, (a, b)[hop % 2], unique, worker=hop // 2 % 2)
            try:
                for _ in range(30):
                    message = client.receive(timeout=0.5)
                    seen[message.topic].append(int(message.payload))
            except AssertionError:  # nothing for a while: hop on
                pass
        for future in running:
            future.result()
    for topic, numbers in seen.items():
        firsts = list(dict.fromkeys(numbers))
        assert firsts == list(range(count)), topic


@each_version
def test_racing_connects_leave_one(shared_cluster, unique, version):
    """C7: however many hosts are asked at once, one connection lives, and MQTT 5 tells the others why."""
    targets = [(host, worker) for host in shared_cluster for worker in (0, 1)] * 3

    def race(target):
        host, worker = target
        client = Client(host.port(worker), version)
        try:
            return client.connect(unique)
        except Closed:
            return client

    for _ in range(5):
        with concurrent.futures.ThreadPoolExecutor(len(targets)) as pool:
            clients = list(pool.map(race, targets))

        def living(clients=clients):
            return [client for client in clients if answers(client)]
        eventually(lambda: len(living()) == 1, "one connection left")
        survivor = living()[0]
        for client in clients:
            if client is survivor:
                continue
            seen = client.expect_closed()
            if version == V5 and client.connack is not None and client.connack.reason == 0:
                assert seen and seen[-1].reason == Reason.SESSION_TAKEN_OVER
        for client in clients:
            client.close()


def answers(client):
    try:
        client.fence()
        return True
    except (AssertionError, OSError):
        return False


def test_clean_start_ends_the_session_elsewhere(shared_cluster, connect, unique):
    a, b = shared_cluster
    client = durable(connect, a, unique)
    client.subscribe(unique, qos=1)
    client.disconnect()
    publisher = connect(a)
    publisher.publish(unique, b"old", qos=1)
    fresh = connect(b, unique, clean=True, properties=EXPIRY)
    assert not fresh.connack.session_present
    publisher.publish(unique, b"new", qos=1)
    fresh.expect_nothing()
    again = durable(connect, a, unique)
    assert again.connack.session_present
    again.expect_nothing()


# ---------------------------------------------------------------- wills


@each_version
def test_will_crosses_hosts(shared_cluster, connect, unique, version):
    a, b = shared_cluster
    subscriber = connect(b)
    subscriber.subscribe(unique, qos=2)
    client = connect(a, version=version, will=Will(unique, b"gone", qos=2))
    client.abort()
    subscriber.receive(topic=unique, payload=b"gone", qos=2)
    subscriber.expect_nothing()


def test_will_of_a_taken_over_connection_fires_once(shared_cluster, connect, unique):
    a, b = shared_cluster
    subscriber = connect(b)
    subscriber.subscribe(f"{unique}/will", qos=1)
    connect(a, unique, will=Will(f"{unique}/will", b"first", qos=1))
    connect(b, unique, will=Will(f"{unique}/will", b"second", qos=1))
    subscriber.receive(payload=b"first")
    subscriber.expect_nothing()


def test_delayed_will_is_cancelled_by_a_return_elsewhere(shared_cluster, connect, unique):
    a, b = shared_cluster
    subscriber = connect(a)
    subscriber.subscribe(f"{unique}/will", qos=1)
    client = durable(connect, a, unique, will=Will(f"{unique}/will", b"gone", qos=1, will_delay_interval=2))
    client.abort()
    durable(connect, b, unique)
    deadline = time.monotonic() + 4  # what must not happen has to have its time
    while time.monotonic() < deadline:
        subscriber.expect_nothing()
        time.sleep(0.2)


# ---------------------------------------------------------------- shared subscriptions


@each_qos
@pytest.mark.parametrize("strategy", ["round_robin", "random", "sticky", "hash_client_id", "local", "least_inflight"])
def test_one_member_of_the_cluster_gets_a_message(cluster, unique, strategy, qos):
    count = 60
    c = cluster(hosts=2, mqtt={"shared_subscription_strategy": strategy})
    members = [c[host].connect(f"m-{host}-{worker}", worker) for host in (0, 1) for worker in (0, 1)]
    for member in members:
        member.subscribe(f"$share/g/{unique}/#", qos=qos)
    everything = c[1].connect("all")
    everything.subscribe(f"{unique}/#", qos=qos)
    publishers = [c[0].connect("p0"), c[1].connect("p1", 1)]
    for i in range(count):
        publishers[i % 2].publish(f"{unique}/{i}", b"%d" % i, qos=qos)
    assert sorted(int(everything.receive().payload) for _ in range(count)) == list(range(count))
    got = []

    def collected():
        for member in members:
            for packet in member.fence():
                assert packet.type == Type.PUBLISH, packet
                member.acknowledge(packet)
                got.append(int(packet.payload))
        return len(got) >= count
    eventually(collected, f"all {count} messages at some member")
    for member in members:
        member.expect_nothing()
    assert sorted(got) == list(range(count))


def test_message_goes_to_a_live_member_on_the_other_host(shared_cluster, connect, unique):
    a, b = shared_cluster
    offline = durable(connect, a, f"{unique}-off")
    offline.subscribe(f"$share/g/{unique}", qos=1)
    online = connect(b)
    online.subscribe(f"$share/g/{unique}", qos=1)
    offline.disconnect()
    publisher = connect(a)
    for i in range(10):
        publisher.publish(unique, b"%d" % i, qos=1)
    assert [int(online.receive().payload) for _ in range(10)] == list(range(10))
    Marker(publisher, online).expect_nothing()
