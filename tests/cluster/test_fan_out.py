"""Messages between hosts: who gets them, how often and in which order (C5, C6)."""
import concurrent.futures

import pytest

from mm.fixtures import Marker, each_qos, each_version
from mm.packets import Reason, Type

RECEIVERS = [(1, 0), (1, 1), (0, 1), (0, 0)]  # (host, worker): the other host's, and our own


@each_qos
def test_message_reaches_every_worker_of_every_host_once(shared_cluster, connect, unique, qos):
    subscribers = [connect(shared_cluster[host], worker=worker) for host, worker in RECEIVERS]
    for subscriber in subscribers:
        subscriber.subscribe(f"{unique}/+/x", qos=qos)
    publisher = connect(shared_cluster[0])
    publisher.publish(f"{unique}/a/x", b"one", qos=qos)
    for subscriber in subscribers:
        subscriber.receive(topic=f"{unique}/a/x", payload=b"one", qos=qos, retain=False)
        subscriber.expect_nothing()


@each_version
@each_qos
def test_publish_right_after_the_suback_of_another_host(shared_cluster, connect, unique, qos, version):
    """C5: a SUBACK means routed, in the whole cluster."""
    publishers = [connect(shared_cluster[0], worker=worker) for worker in (0, 1)]
    subscriber = connect(shared_cluster[1], version=version)
    for i in range(20):
        topic = f"{unique}/{i}"
        subscriber.subscribe(topic, qos=qos)
        for number, publisher in enumerate(publishers):
            publisher.send_publish(topic, b"%d" % number, qos=qos)
        assert {subscriber.receive(topic=topic).payload for _ in publishers} == {b"0", b"1"}


@pytest.mark.parametrize("subscribed", ["{}/#", "{}/+", "+/+/#", "#"])
def test_wildcards(shared_cluster, connect, unique, subscribed):
    subscriber = connect(shared_cluster[1])
    publisher = connect(shared_cluster[0])
    subscriber.subscribe(subscribed.format(unique), qos=1)
    publisher.publish(f"{unique}/x", b"in", qos=1)
    while subscriber.receive().topic != f"{unique}/x":
        pass
    publisher.publish("$other/x", b"out", qos=1)
    marker = Marker(publisher, subscriber)
    assert not [m for m in marker.flush() if m.topic.startswith("$")]


def test_what_is_not_wanted_there_does_not_travel(shared_cluster, connect, unique):
    publisher = connect(shared_cluster[0])
    local = connect(shared_cluster[0], worker=1)
    local.subscribe(f"{unique}/here", qos=1)
    answer = publisher.publish(f"{unique}/nowhere", b"x", qos=1)
    assert answer.reason == Reason.NO_MATCHING_SUBSCRIBERS
    publisher.publish(f"{unique}/here", b"x", qos=1)
    local.receive(topic=f"{unique}/here")


def test_unsubscribe_ends_it(shared_cluster, connect, unique):
    subscriber = connect(shared_cluster[1])
    publisher = connect(shared_cluster[0])
    subscriber.subscribe(f"{unique}/a", f"{unique}/b", qos=1)
    subscriber.unsubscribe(f"{unique}/a")
    publisher.publish(f"{unique}/a", b"no", qos=1)
    publisher.publish(f"{unique}/b", b"yes", qos=1)
    subscriber.receive(topic=f"{unique}/b", payload=b"yes")
    subscriber.expect_nothing()


@each_qos
def test_order_of_each_publisher(shared_cluster, connect, unique, qos):
    count = 300
    subscriber = connect(shared_cluster[1], properties={"receive_maximum": 20})
    subscriber.subscribe(f"{unique}/#", qos=qos)
    publishers = [connect(shared_cluster[0], worker=worker) for worker in (0, 1)] + [connect(shared_cluster[1])]

    def publish(number):
        for i in range(count):
            publishers[number].publish(f"{unique}/{number}", b"%d" % i, qos=qos)

    seen = {f"{unique}/{number}": [] for number in range(len(publishers))}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = [pool.submit(publish, number) for number in range(len(publishers))]
        for _ in range(count * len(publishers)):
            message = subscriber.receive()
            seen[message.topic].append(int(message.payload))
        for future in running:
            future.result()
    for topic, numbers in seen.items():
        assert numbers == list(range(count)), topic


@each_qos
@pytest.mark.parametrize("size", [0, 1, 1900, 300_000, 3_000_000])
def test_payloads_of_every_size(shared_cluster, connect, unique, qos, size):
    payload = bytes(i % 251 for i in range(1000)) * (size // 1000) + b"x" * (size % 1000)
    subscriber = connect(shared_cluster[1], timeout=30)
    subscriber.subscribe(unique, qos=qos)
    connect(shared_cluster[0], timeout=30).publish(unique, payload, qos=qos)
    assert subscriber.receive().payload == payload


def test_large_qos0_message_reaches_the_other_host_in_its_order(shared_cluster, connect, unique):
    """Redis closes a subscriber of its channels that has more than 32 MB to read."""
    a, b = shared_cluster
    subscriber, publisher = connect(b, timeout=60), connect(a, timeout=60)
    subscriber.subscribe(f"{unique}/t", qos=0)
    before = b.cluster_status()["redis_breaks"]
    for sizes in [1, 40_000_000], [2, 5_000_000, 3, 6_000_000, 4]:  # what is more at once may be dropped (16 MB)
        for size in sizes:
            publisher.publish(f"{unique}/t", bytes(size))
        assert [len(subscriber.receive(timeout=60).payload) for _ in sizes] == sizes
    connect(a).publish(f"{unique}/t", b"small again")
    subscriber.receive(payload=b"small again")
    assert b.cluster_status()["redis_breaks"] == before


def test_properties_and_topics_travel_as_they_are(shared_cluster, connect, unique):
    topic = unique + "/ü{}*?[x]\\/:/ "
    properties = {"user_property": [("a", "1"), ("a", "2"), ("", "")], "content_type": "t", "response_topic": "r",
                  "correlation_data": b"\0\r\n$", "payload_format_indicator": 0}
    subscriber = connect(shared_cluster[1])
    subscriber.subscribe(topic, qos=1, identifier=7)
    connect(shared_cluster[0]).publish(topic, b"\r\n\0", qos=1, **properties)
    message = subscriber.receive(topic=topic, payload=b"\r\n\0")
    assert message.properties == {**properties, "subscription_identifier": [7]} or \
        message.properties == {**properties, "subscription_identifier": 7}


def test_no_local_holds_across_hosts(shared_cluster, connect, unique):
    client = connect(shared_cluster[0])
    client.subscribe(unique, qos=1, no_local=True)
    other = connect(shared_cluster[1])
    other.publish(unique, b"other", qos=1)
    client.publish(unique, b"own", qos=1)
    client.receive(payload=b"other")
    client.expect_nothing()


def test_qos2_exactly_once_with_repeats(shared_cluster, connect, unique):
    subscriber = connect(shared_cluster[1])
    subscriber.subscribe(unique, qos=2)
    publisher = connect(shared_cluster[0])
    packet_id = publisher.send_publish(unique, b"once", qos=2)
    publisher.wait_for(Type.PUBREC, packet_id=packet_id)
    publisher.send_publish(unique, b"once", qos=2, packet_id=packet_id, dup=True)
    publisher.wait_for(Type.PUBREC, packet_id=packet_id)
    publisher.pubrel(packet_id)
    publisher.wait_for(Type.PUBCOMP, packet_id=packet_id)
    subscriber.receive(payload=b"once", qos=2)
    subscriber.expect_nothing()


def test_many_filters_and_churn_of_subscriptions(shared_cluster, connect, unique):
    """What is announced and withdrawn again and again ends as it should."""
    publisher = connect(shared_cluster[0])
    churner = connect(shared_cluster[1])
    for i in range(150):
        churner.subscribe(f"{unique}/{i % 7}", qos=1)
        if i % 3:
            churner.unsubscribe(f"{unique}/{i % 7}")
    churner.subscribe(f"{unique}/end", qos=1)
    for i in range(7):
        publisher.publish(f"{unique}/{i}", b"", qos=1)
    publisher.publish(f"{unique}/end", b"", qos=1)
    seen = set()
    while (message := churner.receive()).topic != f"{unique}/end":
        seen.add(int(message.topic.rsplit("/", 1)[1]))
    last = {i % 7: i for i in range(150)}
    assert seen == {number for number, i in last.items() if i % 3 == 0}
