"""Retained messages: one set of them in the whole cluster."""
import concurrent.futures

from mm.broker import eventually
from mm.packets import Type


def retained_of(host, client_id, topic_filter, worker=0):
    """{topic: payload} that a new subscriber gets."""
    with host.connect(client_id, worker) as client:
        client.subscribe(topic_filter, qos=1)
        found = [packet for packet in client.fence() if packet.type == Type.PUBLISH and packet.retain]
        return {packet.topic: packet.payload for packet in found}


def agree(hosts, topic_filter, expected=None, timeout=20):
    """Waits until all workers of these hosts have the same retained messages; the set."""
    def same():
        sets = [retained_of(host, f"look-{host}-{worker}", topic_filter, worker)
                for host in hosts for worker in range(host.workers)]
        agreed = all(one == sets[0] for one in sets) and (expected is None or sets[0] == expected)
        return (sets[0],) if agreed else None
    return eventually(same, f"{hosts} agree on {topic_filter}: {expected}", timeout)[0]


def test_retained_is_on_every_host_and_deleted_everywhere(shared_cluster, connect, unique):
    a, b = shared_cluster
    publisher = connect(a)
    for i in range(50):
        publisher.publish(f"{unique}/{i}", b"%d" % i, qos=1, retain=True)
    agree([a, b], f"{unique}/#", {f"{unique}/{i}": b"%d" % i for i in range(50)})
    other = connect(b)
    for i in range(0, 50, 2):
        other.publish(f"{unique}/{i}", b"", qos=1, retain=True)
    agree([a, b], f"{unique}/#", {f"{unique}/{i}": b"%d" % i for i in range(1, 50, 2)})


def test_publisher_reads_its_own_write(shared_cluster, connect, unique):
    """The acknowledgement of a retained change means that a subscriber of this host gets it."""
    for host in shared_cluster:
        publisher = connect(host)
        for i in range(20):
            publisher.publish(unique, b"%d" % i, qos=1, retain=True)
            for worker in (0, 1):
                assert retained_of(host, f"{unique}-look", unique, worker) == {unique: b"%d" % i}


def test_racing_changes_end_the_same_everywhere(shared_cluster, connect, unique):
    def publish(host, worker):
        client = connect(host, worker=worker)
        for i in range(60):
            payload = b"" if i % 5 == 0 else f"{host}/{worker}/{i}".encode()
            client.publish(f"{unique}/{i % 4}", payload, qos=1, retain=True)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        for future in [pool.submit(publish, host, worker) for host in shared_cluster for worker in (0, 1)]:
            future.result()
    agree(list(shared_cluster), f"{unique}/#")


def test_host_that_joins_late_has_all_of_them(cluster):
    c = cluster(hosts=1)
    publisher = c[0].connect("p")
    for i in range(300):
        publisher.publish(f"r/{i}", b"%d" % i, qos=1, retain=True)
    for i in range(100):
        publisher.publish(f"r/{i}", b"", qos=1, retain=True)
    late = c.add_host()
    agree([c[0], late], "r/#", {f"r/{i}": b"%d" % i for i in range(100, 300)})


def test_host_that_was_away_learns_of_deletions(cluster):
    c = cluster(hosts=2)
    a, b = c
    publisher = a.connect("p")
    for i in range(20):
        publisher.publish(f"r/{i}", b"old", qos=1, retain=True)
    agree([a, b], "r/#", {f"r/{i}": b"old" for i in range(20)})
    b.stop()
    for i in range(10):
        publisher.publish(f"r/{i}", b"", qos=1, retain=True)
    publisher.publish("r/15", b"new", qos=1, retain=True)
    b.start().fan_out()
    agree([a, b], "r/#", {f"r/{i}": b"new" if i == 15 else b"old" for i in range(10, 20)})


def test_live_subscribers_see_changes_as_messages(shared_cluster, connect, unique):
    subscriber = connect(shared_cluster[1])
    subscriber.subscribe(unique, qos=1)
    connect(shared_cluster[0]).publish(unique, b"v", qos=1, retain=True)
    subscriber.receive(topic=unique, payload=b"v", retain=False)
    subscriber.expect_nothing()
