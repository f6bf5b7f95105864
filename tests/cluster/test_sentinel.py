"""Redis fails over, with real sentinels, under whole hosts (C8)."""
import contextlib
import threading
import time

import pytest

from mm.cluster import DURABLE, returned
from mm.packets import Reason, Type
from mm.sentinel import PASSWORD, Failover
from test_retained import agree

# A broker that waited for Redis would stand still as long as that is away: for more than the sentinels' DOWN_AFTER.
LONGEST_PAUSE = 0.7  # seconds
SENTINEL_PASSWORD = "an0ther-s3cret"


@pytest.fixture
def with_failover(cluster):
    """with_failover(…) -> (cluster, redis): two hosts, and a Redis that fails over."""
    with contextlib.ExitStack() as stack:
        def make(**fields):
            redis = stack.enter_context(Failover(**fields))
            return cluster(hosts=2, redis=redis, sections=redis.config), redis
        yield make


class LocalTraffic:
    """Publishes all the time from one worker of a host to another, and measures how long a message takes."""

    def __init__(self, host):
        self._publisher, self._subscriber = host.connect("local-p", 0), host.connect("local-s", 1)
        self._subscriber.subscribe("local", qos=1)
        self.count, self.longest = 0, 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._ended.wait(0.01):
            begun = time.monotonic()
            self._publisher.publish("local", b"%d" % self.count, qos=1)
            self._subscriber.receive(payload=b"%d" % self.count)
            self.longest = max(self.longest, time.monotonic() - begun)
            self.count += 1

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()


def log_of(host):
    return (host.directory / "run/mqtt-master.log").read_text()


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_failover_to_a_replica_that_has_everything(with_failover, how):
    c, redis = with_failover(sentinel_password=SENTINEL_PASSWORD if how == "killed" else None)
    a, b = c
    remote, publisher = b.connect("r"), a.connect("p")
    remote.subscribe("t", qos=1)
    a.leave_session("c", "q")
    for i in range(10):
        publisher.publish("t", b"%d" % i, qos=1)
    publisher.publish("q", b"queued", qos=1)
    publisher.publish("kept", b"before", qos=1, retain=True)
    redis.wait_for_replica()

    with LocalTraffic(a) as local:
        redis.master.kill() if how == "killed" else redis.master.pause()
        ids = [publisher.send_publish("t", b"%d" % i, qos=1) for i in range(10, 20)]
        b.connect("p2").publish("kept", b"during", qos=1, retain=True)
        redis.failed_over()
        for packet_id in ids:
            publisher.wait_for(Type.PUBACK, packet_id=packet_id, timeout=30)
        c.settled()
    assert local.longest < LONGEST_PAUSE
    assert [int(remote.receive(timeout=30).payload) for _ in range(20)] == list(range(20))
    moved = b.connect("c", **DURABLE)
    assert moved.connack.session_present
    moved.receive(payload=b"queued")
    moved.expect_nothing()
    remote.expect_nothing()
    agree([a, b], "kept", {"kept": b"during"})
    for host in c:
        assert host.cluster_status()["redis_breaks"] == 1
        assert PASSWORD not in log_of(host) and SENTINEL_PASSWORD not in log_of(host)
        there = [line for line in log_of(host).splitlines() if "redis is there" in line or "redis is not there" in line]
        assert len(there) == 3, there  # the old one, none, the new one
        assert f"{redis.replica.address}:{redis.replica.port}, Redis" in there[2]


def test_failover_to_a_replica_that_is_behind(with_failover):
    """What only the old master knew is told the new one by the hosts, which hold it."""
    c, redis = with_failover()
    a, b = c
    publisher = a.connect("p")
    for client_id in ("moved", "live"):
        a.leave_session(client_id, f"q/{client_id}")
    for topic in ("deleted", "changed"):
        publisher.publish(f"r/{topic}", b"old", qos=1, retain=True)
    agree([a, b], "r/#", {"r/deleted": b"old", "r/changed": b"old"})
    redis.wait_for_replica()

    redis.cut_replica_off()
    returned(b, "moved").disconnect()
    live = returned(b, "live")
    b.leave_session("fresh", "q/fresh")
    remote = b.connect("r")
    remote.subscribe("t", qos=1)
    publisher.publish("r/deleted", b"", qos=1, retain=True)
    publisher.publish("r/changed", b"new", qos=1, retain=True)
    publisher.publish("t", b"before", qos=1)
    remote.receive(payload=b"before")
    redis.master.kill()
    packet_id = publisher.send_publish("t", b"during", qos=1)
    redis.failed_over()
    c.settled()

    publisher.wait_for(Type.PUBACK, packet_id=packet_id, timeout=30)
    remote.receive(payload=b"during", timeout=30)
    remote.expect_nothing()
    agree([a, b], "r/#", {"r/changed": b"new"})
    for client_id in ("moved", "fresh", "live"):
        publisher.publish(f"q/{client_id}", b"after", qos=1)
    live.receive(payload=b"after", timeout=30)
    for client_id in ("moved", "fresh"):
        returned(a, client_id).receive(payload=b"after", timeout=30)
    returned(a, "live").expect_nothing()
    live.expect_closed(Reason.SESSION_TAKEN_OVER, timeout=30)
