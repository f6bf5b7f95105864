"""Redis away, slow, empty, older or full: what goes on, what waits, and that everything reconciles by itself (C8)."""
import concurrent.futures
import contextlib
import time

import pytest

from mm.broker import eventually
from mm.client import Client
from mm.cluster import DURABLE, elapsed, returned
from mm.fixtures import Marker
from mm.packets import V5, V311, Reason, Type
from mm.redis import Redis
from test_retained import agree

EXPIRY = {"session_expiry_interval": 600}


@pytest.fixture
def with_redis(cluster):
    """with_redis(**options) -> (cluster, redis), of a Redis with these options."""
    with contextlib.ExitStack() as stack:
        def make(hosts=2, config=None, **options):
            redis = stack.enter_context(Redis(**options))
            return cluster(hosts=hosts, redis=redis, sections=config), redis
        yield make


def down(redis, *hosts):
    redis.kill()
    for host in hosts:
        host.fan_out("redis down")


def test_local_traffic_goes_on_without_redis(with_redis):
    c, redis = with_redis()
    a, b = c
    subscriber, publisher = a.connect("s", 1), a.connect("p", 0)
    subscriber.subscribe("t/#", qos=2)
    down(redis, a, b)
    for qos in (0, 1, 2):
        publisher.publish("t/1", b"%d" % qos, qos=qos)
        subscriber.receive(payload=b"%d" % qos)
    subscriber.subscribe("fresh", qos=1)  # the SUBACK waits for nobody who cannot be reached
    publisher.publish("fresh", b"x", qos=1)
    subscriber.receive(topic="fresh")
    publisher.publish("r", b"kept", qos=1, retain=True)
    late = a.connect("late", 1)
    late.subscribe("r", qos=1)
    late.receive(payload=b"kept", retain=True)
    redis.start()
    c.settled()
    agree([a, b], "r", {"r": b"kept"})


def flood(publisher, messages=24):
    """More than may wait for other hosts, as far as the broker reads it."""
    for number in range(messages):
        publisher.send_publish("t", b"%d" % number + bytes(1_000_000), qos=1)


@pytest.mark.parametrize("timeout", [0, 1])
def test_publisher_is_not_read_when_too_much_waits_for_other_hosts(with_redis, timeout):
    """And is closed after redis.full_timeout, if there is one. Nobody else is disturbed."""
    c, redis = with_redis(config={"redis": {"full_timeout": timeout}})
    a, b = c
    subscriber, publisher = b.connect("s"), a.connect("p", timeout=60)
    subscriber.subscribe("t", qos=1)
    down(redis, a, b)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        sent = pool.submit(flood, publisher)
        eventually(lambda: a.cluster_status()["waiting_bytes"] > 15_000_000, "much waits", 30)
        local = a.connect("local", 0)
        local.subscribe("here", qos=1)
        a.connect("p2", 0).publish("here", b"x", qos=1)
        local.receive(payload=b"x")
        if timeout:
            publisher.expect_closed(Reason.QUOTA_EXCEEDED, timeout=30)
            with contextlib.suppress(OSError):
                sent.result(timeout=60)
            return
        assert a.cluster_status()["waiting_bytes"] < 20_000_000
        redis.start()
        sent.result(timeout=60)
        for number in range(24):
            assert subscriber.receive(timeout=60).payload.startswith(b"%d\0" % number)
        for _ in range(24):
            publisher.wait_for(Type.PUBACK, timeout=60)


@pytest.mark.parametrize("qos", [1, 2])
def test_acknowledgement_across_hosts_is_withheld_then_given(with_redis, qos):
    c, redis = with_redis()
    a, b = c
    subscriber, publisher = b.connect("s"), a.connect("p")
    subscriber.subscribe("t", qos=qos)
    down(redis, a, b)
    ids = [publisher.send_publish("t", b"%d" % i, qos=qos) for i in range(10)]
    publisher.expect_nothing()
    subscriber.expect_nothing()
    redis.start()
    for packet_id in ids:
        publisher.wait_for(Type.PUBACK if qos == 1 else Type.PUBREC, packet_id=packet_id, timeout=30)
    got = [int(subscriber.receive(timeout=30).payload) for _ in ids]
    assert got == list(range(10))
    subscriber.expect_nothing()


@pytest.mark.parametrize("qos", [1, 2])
def test_a_host_that_finds_an_empty_redis_first_waits_for_the_others(with_redis, qos):
    """It must not take itself for the only one, or what was published for the others is for nobody."""
    c, redis = with_redis()
    a, b = c
    subscriber, publisher = b.connect("s"), a.connect("p")
    subscriber.subscribe("t", qos=qos)
    down(redis, a, b)
    packet_id = publisher.send_publish("t", b"kept", qos=qos)
    b.pause()
    try:
        redis.start()
        a.fan_out()
    finally:
        b.resume()
    publisher.wait_for(Type.PUBACK if qos == 1 else Type.PUBREC, packet_id=packet_id, timeout=30)
    subscriber.receive(payload=b"kept", timeout=30)


def test_qos0_for_other_hosts_is_dropped_and_does_not_wait(with_redis):
    c, redis = with_redis()
    a, b = c
    subscriber, publisher = b.connect("s"), a.connect("p")
    subscriber.subscribe("t", qos=0)
    down(redis, a, b)
    for _ in range(100):
        publisher.publish("t", b"lost")
    publisher.expect_nothing()
    redis.start()
    c.settled()
    Marker(publisher, subscriber).expect_nothing()


@pytest.mark.parametrize("version", [V311, V5])
def test_connect_rules_while_redis_is_away(with_redis, version):
    """Refused: what may want the session of another host. Accepted: clean, and what this host held last."""
    c, redis = with_redis(config={"redis": {"redis_down": "refuse"}})
    a, b = c
    durable = {"version": version, "clean": False}
    if version == V5:
        durable["properties"] = EXPIRY
    a.connect("held", **durable).disconnect()
    b.connect("elsewhere", **durable).disconnect()
    down(redis, a, b)
    assert a.connect("held", 1, **durable).connack.session_present
    a.connect("clean", version=version)
    refused = Reason.SERVER_UNAVAILABLE if version == V5 else 3
    a.connect("elsewhere", expect=refused, **durable)
    a.connect("never-seen", expect=refused, **durable)
    redis.start()
    c.settled()
    assert a.connect("elsewhere", **durable).connack.session_present


def test_connects_go_on_when_a_worker_or_the_gateway_is_replaced_without_redis(with_redis):
    """Nobody can tell the new ones what became of this host, so nobody waits for that."""
    c, redis = with_redis()
    a, _ = c
    a.leave_session("stays", "t/#")
    down(redis, *c)
    for replace in (lambda: a.replace_worker(0), a.kill_gateway, lambda: a.replace_worker(1)):
        replace()
        for number in range(20):  # of all homes
            a.connect(f"new-{number}", number % 2).disconnect()
        returned(a, "stays", 1).disconnect()


def test_connect_is_accepted_if_so_configured_and_the_higher_epoch_wins(with_redis):
    c, redis = with_redis(config={"redis": {"redis_down": "accept"}})
    a, b = c
    durable = {"clean": False, "properties": EXPIRY}
    old = b.connect("c", **durable)
    down(redis, a, b)
    new = a.connect("c", **durable)
    old.expect_nothing()  # C7 holds on each host while they cannot speak
    redis.start()
    old.expect_closed(Reason.SESSION_TAKEN_OVER, timeout=30)
    new.expect_nothing()


def test_redis_away_for_several_leases(with_redis):
    """Nobody takes anybody for dead, also not a host that dies and comes back meanwhile."""
    lease, outage = 1.0, 5.0
    c, redis = with_redis(config={"redis": {"lease": lease}}, appendonly="yes")
    a, b = c
    for host in c:
        host.leave_session(f"of-{host}", "t/#")
    here = a.connect("here", 1)
    here.subscribe("t/#", qos=1)
    publisher = a.connect("p", timeout=60)
    publisher.publish("r", b"before", qos=1, retain=True)
    c.copied()
    down(redis, a, b)
    begun = time.monotonic()
    ids = [publisher.send_publish("t/a", b"%d" % i, qos=1) for i in range(10)]
    assert [int(here.receive().payload) for _ in ids] == list(range(10))
    a.connect("p-r").publish("r", b"of a", qos=1, retain=True)
    eventually(lambda: elapsed(begun) > outage / 2, "some leases", outage)
    b.kill()
    b.start().fan_out("redis down")
    b.connect("of-host-1", expect=Reason.SERVER_UNAVAILABLE, **DURABLE)  # it may have gone on elsewhere
    local, publisher_b = b.connect("local", 1), b.connect("p-b", timeout=60)
    local.subscribe("t/b", qos=1)
    ids_b = [publisher_b.send_publish("t/b", b"%d" % i, qos=1) for i in range(10)]
    assert [int(local.receive().payload) for _ in ids_b] == list(range(10))
    b.connect("p-r").publish("r", b"of b", qos=1, retain=True)
    eventually(lambda: elapsed(begun) > outage, "some more leases", outage)

    redis.start()
    c.settled()
    for waits, packet_ids in (publisher, ids), (publisher_b, ids_b):
        for packet_id in packet_ids:
            waits.wait_for(Type.PUBACK, packet_id=packet_id, timeout=30)
    assert [int(here.receive(timeout=30).payload) for _ in ids_b] == list(range(10))
    here.expect_nothing()
    agree([a, b], "r", {"r": b"of b"})
    for host, other in ((a, b), (b, a)):
        moved = returned(other, f"of-{host}")
        got = [moved.receive(timeout=30) for _ in range(20)]
        for topic in ("t/a", "t/b"):
            assert [int(m.payload) for m in got if m.topic == topic] == list(range(10))
        moved.expect_nothing()
        assert "a host is dead" not in (host.directory / "run/mqtt-master.log").read_text()


def test_redis_that_is_not_there_at_the_start(cluster):
    redis = Redis()
    try:
        c = cluster(hosts=2, redis=redis, wait=False)
        a, b = c
        assert a.fan_out("redis down").cluster_status()["ready"] is False
        subscriber = a.connect("s", 1)
        subscriber.subscribe("t", qos=1)
        a.connect("p").publish("t", b"local", qos=1)
        subscriber.receive(payload=b"local")
        redis.start()
        c.settled()
        b.connect("p").publish("t", b"remote", qos=1)
        subscriber.receive(payload=b"remote")
    finally:
        redis.__exit__(None)


RESTARTS = {
    "empty": ({}, lambda redis: redis.restart(empty=True)),
    "from its append-only file": ({"appendonly": "yes"}, lambda redis: redis.restart()),
}


@pytest.mark.parametrize("how", RESTARTS)
def test_redis_restarts(with_redis, how):
    """Hosts seed it again from what they hold; nobody is wiped, nothing that was acknowledged is missing."""
    options, restart = RESTARTS[how]
    c, redis = with_redis(**options)
    check_restart(c, lambda: restart(redis))


def test_redis_restarts_with_an_older_state(with_redis):
    c, redis = with_redis()
    a, b = c
    a.connect("p").publish("gone", b"x", qos=1, retain=True)
    older = redis.remember()
    a.connect("p").publish("gone", b"", qos=1, retain=True)
    check_restart(c, lambda: redis.restart_from(older))
    agree([a, b], "gone", {})


def check_restart(c, restart):
    a, b = c
    client = a.connect("c", clean=False, properties=EXPIRY)
    client.subscribe("q/#", qos=1)
    client.disconnect()
    live = b.connect("live")
    live.subscribe("t/#", qos=1)
    publisher = b.connect("p", 1)
    publisher.publish("q/1", b"queued", qos=1)
    for i in range(20):
        publisher.publish(f"r/{i}", b"%d" % i, qos=1, retain=True)
    publisher.publish("r/0", b"", qos=1, retain=True)
    restart()
    c.settled()
    agree([a, b], "r/#", {f"r/{i}": b"%d" % i for i in range(1, 20)})
    a.connect("p2").publish("t/1", b"routed", qos=1)
    live.receive(payload=b"routed")
    live.expect_nothing()
    moved = b.connect("c", clean=False, properties=EXPIRY)
    assert moved.connack.session_present
    moved.receive(payload=b"queued")
    moved.expect_nothing()


def test_connections_that_break_under_traffic_lose_nothing(with_redis):
    count = 400
    c, redis = with_redis()
    a, b = c
    subscriber, publisher = b.connect("s", timeout=40), a.connect("p", timeout=40)
    subscriber.subscribe("t", qos=2)

    def publish():
        for i in range(count):
            publisher.publish("t", b"%d" % i, qos=1 + i % 2)

    got = {1: [], 2: []}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = pool.submit(publish)
        for i in range(count):
            if i % 40 == 20:
                redis.drop_clients()
            message = subscriber.receive()
            got[message.qos].append(int(message.payload))
        running.result()
    assert got == {1: list(range(0, count, 2)), 2: list(range(1, count, 2))}
    subscriber.expect_nothing()


@pytest.mark.parametrize("stop", ["SIGSTOP", "DEBUG SLEEP"])
def test_redis_that_does_not_answer(with_redis, stop):
    c, redis = with_redis()
    a, b = c
    local, remote, publisher = a.connect("l", 1), b.connect("r"), a.connect("p")
    local.subscribe("t/local", qos=1)
    remote.subscribe("t/remote", qos=1)
    if stop == "SIGSTOP":
        redis.pause()
    else:
        sleeping = redis.sleep(5)
    try:
        publisher.publish("t/local", b"x", qos=1)
        local.receive(payload=b"x")
        packet_id = publisher.send_publish("t/remote", b"y", qos=1)
        publisher.expect_nothing()
    finally:
        if stop == "SIGSTOP":
            a.fan_out("redis down")
            redis.resume()
    publisher.wait_for(Type.PUBACK, packet_id=packet_id, timeout=30)
    remote.receive(payload=b"y", timeout=30)
    remote.expect_nothing()
    c.settled()
    if stop != "SIGSTOP":
        sleeping.close()


def test_redis_out_of_memory(with_redis):
    """What Redis refuses waits unconfirmed, and that it does is told once; when there is room it goes on."""
    c, redis = with_redis()
    a, b = c
    subscriber, publisher, local = b.connect("s"), a.connect("p"), a.connect("l", 1)
    subscriber.subscribe("t", qos=1)
    local.subscribe("local", qos=1)
    redis.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
    redis.call("CONFIG", "SET", "maxmemory", "1")
    packet_id = publisher.send_publish("t", b"x", qos=1)
    a.connect("p2").publish("local", b"y", qos=1)  # another's acknowledgements do not wait for those
    local.receive(payload=b"y")
    subscriber.expect_nothing()
    log = a.directory / "run/mqtt-master.log"
    eventually(lambda: "redis refuses calls" in log.read_text(), "a line in the log")
    assert log.read_text().count("redis refuses calls") == 1 and "OOM" in log.read_text()
    assert a.cluster_status()["calls_refused"] > 0
    redis.call("CONFIG", "SET", "maxmemory", "0")
    publisher.wait_for(Type.PUBACK, packet_id=packet_id, timeout=30)
    subscriber.receive(payload=b"x", timeout=30)
    eventually(lambda: "redis refuses nothing any more" in log.read_text(), "a line in the log", 30)


def test_redis_with_a_password(with_redis):
    c, redis = with_redis(password="s3cret")
    a, b = c
    subscriber = b.connect("s")
    subscriber.subscribe("t", qos=1)
    a.connect("p").publish("t", b"x", qos=1)
    subscriber.receive(payload=b"x")
    for host in c:
        for path in [host.stderr_file, host.directory / "run/mqtt-master.log"]:
            assert "s3cret" not in path.read_text()


def test_wrong_password_is_redis_down(cluster):
    with Redis(password="right") as redis:
        redis.password = "wrong"
        c = cluster(hosts=1, redis=redis, wait=False)
        c[0].fan_out("redis down")
        c[0].connect("c").publish("t", b"x", qos=1)
        log = c[0].directory / "run/mqtt-master.log"
        eventually(lambda: "WRONGPASS" in log.read_text() or "invalid" in log.read_text(), "a line in the log")
        redis.password = "right"


def test_subscribers_wait_for_no_redis_but_get_what_follows(with_redis):
    """Subscribed while Redis was away: after it is back the route reaches the other host without help."""
    c, redis = with_redis()
    a, b = c
    subscriber = b.connect("s")
    down(redis, a, b)
    subscriber.subscribe("t", qos=1)
    redis.start()
    c.settled()
    with Client(a.port(0)) as publisher:
        publisher.connect("p").publish("t", b"x", qos=1)
    subscriber.receive(payload=b"x")
