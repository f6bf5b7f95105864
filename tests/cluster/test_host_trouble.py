"""Workers, gateways and whole hosts that die or stand still; adoption."""
import concurrent.futures
import os
import shutil
import signal

import pytest

from mm.broker import children, eventually
from mm.cluster import ADOPTION_TIMEOUT, DURABLE, returned
from mm.packets import Reason, Will
from mm.redis import Redis


@pytest.mark.parametrize("victim", ["gateway", "worker of the publisher", "worker of the subscriber",
                                    "gateway of the subscriber"])
def test_kill_under_traffic_loses_nothing_that_was_acknowledged(cluster, victim):
    count = 300
    c = cluster(hosts=2)
    a, b = c
    b.connect("s", **DURABLE).subscribe("t", qos=1)
    acknowledged = []

    def publish():
        client = a.connect("p", 1)
        for i in range(count):
            client.publish("t", b"%d" % i, qos=1)
            acknowledged.append(i)

    def kill():
        if victim == "gateway":
            a.kill_gateway()
        elif victim == "gateway of the subscriber":
            b.kill_gateway()
        else:
            host, worker = (a, 0) if "publisher" in victim else (b, 0)
            os.kill(host.pid_of(worker), signal.SIGKILL)

    got = []
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = pool.submit(publish)
        for part in range(3):
            eventually(lambda part=part: len(acknowledged) > part * count // 4 or running.done(), "some are through", 60)
            kill()
        running.result()
    for host in c:
        host.all_ready()
    subscriber = returned(b, "s")
    while set(got) < set(acknowledged):
        got.append(int(subscriber.receive(timeout=30).payload))
    assert list(dict.fromkeys(got)) == list(range(count))


def test_gateway_that_dies_is_replaced_and_the_cluster_is_whole(cluster):
    c = cluster(hosts=2)
    a, b = c
    subscriber = a.connect("s")
    subscriber.subscribe("old", qos=1)
    a.kill_gateway()
    subscriber.subscribe("new", qos=1)
    c.settled()
    publisher = b.connect("p")
    for topic in ("old", "new"):
        publisher.publish(topic, b"x", qos=1)
        subscriber.receive(topic=topic)
    subscriber.expect_nothing()


def test_dead_host_is_adopted(cluster):
    """Sessions, queues, subscriptions and wills of a host that died are on the others, each once."""
    c = cluster(hosts=3)
    a, b, dead = c
    watcher = a.connect("w")
    watcher.subscribe("will/#", qos=2)
    for i in range(12):
        client = dead.connect(f"c{i}", i % 2, **DURABLE)
        client.subscribe(f"q/{i}", qos=1)
        client.disconnect()
    alive = dead.connect("alive", will=Will("will/alive", b"gone", qos=2), **DURABLE)
    alive.subscribe("q/alive", qos=1)
    publisher = b.connect("p")
    for i in range(12):
        publisher.publish(f"q/{i}", b"before", qos=1)
    dead.kill()
    alive.close()
    for i in range(12):
        publisher.publish(f"q/{i}", b"after", qos=1)  # the dead host's routes stay (C5, C6)
    a.sees(a, b)
    watcher.receive(timeout=ADOPTION_TIMEOUT, topic="will/alive", payload=b"gone")
    for i in range(12):
        client = returned((a, b)[i % 2], f"c{i}")
        assert [client.receive(timeout=30).payload for _ in range(2)] == [b"before", b"after"]
        client.expect_nothing()
    watcher.expect_nothing()


def test_host_with_the_name_of_another_one_does_not_join(cluster):
    """It says so, goes on by itself, and harms nothing; when the other has gone it may have the name."""
    c = cluster(hosts=2)
    a, b = c
    subscriber = b.connect("s")
    subscriber.subscribe("t", qos=1)
    gateway = b.gateway_pid()
    twin = c.twin_of(b)
    log = twin.directory / "run/mqtt-master.log"
    said = "another host has this redis.node_id"
    eventually(lambda: log.exists() and said in log.read_text(), "a line in the log", 30)
    assert not twin.cluster_status()["ready"]
    a.connect("p").publish("t", b"x", qos=1)
    subscriber.receive(payload=b"x")
    subscriber.expect_nothing()
    assert b.gateway_pid() == gateway and log.read_text().count(said) == 1
    b.stop()
    twin.ready().fan_out()


def test_host_that_comes_back_without_its_disk_finds_its_sessions(cluster):
    """A machine, or a container, that is replaced at once: an acknowledgement outlives that, too (C6)."""
    c = cluster(hosts=2)
    a, b = c
    b.leave_session("c", "q")
    a.connect("p").publish("q", b"kept", qos=1)
    c.copied()
    b.kill_master()
    shutil.rmtree(b.directory / "data")
    b.start()
    returned(b, "c").receive(payload=b"kept", timeout=30)
    c.settled()


def test_host_that_comes_back_after_it_was_adopted(cluster):
    """It starts another life: what it had is where it was taken, and it does not claim it again."""
    c = cluster(hosts=2)
    a, b = c
    b.leave_session("c", "q")
    b.kill()
    a.sees(a)
    moved = returned(a, "c")
    a.connect("p").publish("q", b"1", qos=1)
    moved.receive(payload=b"1")
    b.start()
    c.settled()
    b.connect("p").publish("q", b"2", qos=1)
    moved.receive(payload=b"2")
    moved.expect_nothing()
    back = b.connect("c", **DURABLE)
    assert back.connack.session_present
    moved.expect_closed(Reason.SESSION_TAKEN_OVER)


def test_host_that_comes_back_gives_up_what_was_new_when_it_died(cluster):
    """A session that had moved a moment before is in the copy, too: what is published meanwhile is there, not here."""
    c = cluster(hosts=2)
    a, b = c
    b.connect("c", 0, **DURABLE).subscribe("q", qos=1)
    c.copied()
    b.connect("c", 1, **DURABLE)
    b.kill()
    a.sees(a)
    a.connect("p").publish("q", b"meanwhile", qos=1)
    b.start()
    returned(b, "c", 1).receive(payload=b"meanwhile", timeout=30)


def test_host_that_comes_back_keeps_messages_for_groups_whose_members_it_gave_up(cluster):
    """They are with the guest, which cannot say so: nobody but this host can say that the group is there."""
    c = cluster(hosts=2)
    a, b = c
    b.connect("m", **DURABLE).subscribe("$share/g/q", qos=1)
    c.copied()
    b.kill()
    a.sees(a)

    def guest():
        found = [pid for pid, title in children(a.process.pid).items() if title.startswith("mqtt-master: guest")]
        return found and [*found, *children(found[0])]

    eventually(guest, "a goes on with b", ADOPTION_TIMEOUT)
    stopped = guest()
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    b.start()
    publisher = b.connect("p", timeout=ADOPTION_TIMEOUT)
    for number in range(5):
        publisher.send_publish("q", b"%d" % number, 1)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    member = returned(b, "m", 1)
    assert {member.receive(timeout=30).payload for _ in range(5)} == {b"%d" % number for number in range(5)}


def test_gateway_that_begins_while_a_host_is_down_loses_nothing_for_it(cluster):
    """Nobody can tell it what that host's sessions want until somebody goes on with it."""
    c = cluster(hosts=2)
    a, b = c
    b.connect("c", **DURABLE).subscribe("q", qos=1)
    c.copied()
    b.kill()
    a.kill_gateway()
    a.kill_workers(0)
    publisher = a.connect("p", timeout=ADOPTION_TIMEOUT)
    for number in range(5):
        publisher.publish("q", b"%d" % number, qos=1)
    client = returned(a, "c")
    assert [client.receive(timeout=30).payload for _ in range(5)] == [b"%d" % number for number in range(5)]


def test_gateway_and_worker_that_begin_while_a_host_and_redis_are_down_lose_nothing_for_it(cluster):
    """The other worker knows what the dead gateway had told; the new ones would pass by what nobody can tell them."""
    with Redis(appendonly="yes") as redis:
        c = cluster(hosts=2, redis=redis)
        a, b = c
        b.connect("c", **DURABLE).subscribe("q", qos=1)
        b.connect("m", **DURABLE).subscribe("$share/g/q", qos=2)
        publisher = a.connect("p", 1)
        publisher.publish("q", b"before", qos=1)
        c.copied()
        b.kill()
        redis.kill()
        a.kill_gateway()
        a.replace_worker(0)
        publisher = a.connect("p", timeout=ADOPTION_TIMEOUT)
        publisher.send_publish("q", b"1", 1)
        publisher.send_publish("q", b"2", 2)
        redis.start()
        for client in (returned(a, "c"), returned(a, "m", 1)):
            assert {client.receive(timeout=30).payload for _ in range(3)} == {b"before", b"1", b"2"}


def rises_without_redis(host, redis):
    """It is started while Redis is away, and accepts clients."""
    redis.kill()
    host.start()


def test_host_that_rises_without_redis_resumes_nothing_that_may_be_elsewhere(cluster):
    """It has been adopted and does not know: sessions are refused until Redis says, and each will fires once."""
    with Redis(appendonly="yes") as redis:
        c = cluster(hosts=2, redis=redis)
        a, b = c
        b.connect("c", **DURABLE).subscribe("q", qos=1)
        b.connect("w", **DURABLE).subscribe("will/#", qos=2)
        b.connect("brief", will=Will("will/brief", b"gone", qos=2))
        c.copied()
        b.kill()
        a.sees(a)
        watcher = returned(a, "w")
        watcher.receive(payload=b"gone", timeout=ADOPTION_TIMEOUT)
        rises_without_redis(b, redis)
        b.connect("c", expect=Reason.SERVER_UNAVAILABLE, **DURABLE)
        assert b.status()["cluster"]["unsure_sessions"] >= 2
        assert not b.connect("brief").connack.session_present
        b.connect("p").publish("q", b"1", qos=1)  # for the session that may be here
        redis.start()
        returned(b, "c").receive(payload=b"1", timeout=30)
        watcher.expect_nothing()


def test_host_that_rises_without_redis_in_time_resumes_its_sessions(cluster):
    """Before its lease has run out nobody has adopted it."""
    with Redis(appendonly="yes") as redis:
        c = cluster(hosts=2, redis=redis, sections={"redis": {"lease": 60}})
        b = c.hosts[1]
        b.connect("c", **DURABLE).subscribe("q", qos=1)
        c.copied()
        b.kill()
        rises_without_redis(b, redis)
        assert b.connect("c", **DURABLE).connack.session_present
        assert b.status()["cluster"]["unsure_sessions"] == 0
        redis.start()


def test_host_that_stops_and_starts_within_its_lease_keeps_its_sessions(cluster):
    c = cluster(hosts=2)
    a, b = c
    b.leave_session("c", "q")
    b.stop()
    a.connect("p").publish("q", b"while away", qos=1)
    b.start()
    c.settled()
    returned(b, "c").receive(payload=b"while away", timeout=30)


def test_paused_host_is_harmless_when_it_wakes_up(cluster):
    """SIGSTOP of a whole host past its lease: others adopt, and what wakes up later does no harm."""
    c = cluster(hosts=2, stall_timeout=600)
    a, b = c
    held = b.connect("c", **DURABLE)
    held.subscribe("q", qos=1)
    will = b.connect("w", will=Will("will", b"gone", qos=1))
    watcher = a.connect("watcher")
    watcher.subscribe("will", qos=1)
    held.subscribe("later", qos=1)  # is acknowledged when it is in the host's copy, and so is the will before it
    b.pause()
    a.sees(a)
    moved = returned(a, "c")
    watcher.receive(timeout=ADOPTION_TIMEOUT, payload=b"gone")
    a.connect("p").publish("q", b"x", qos=1)
    moved.receive(payload=b"x")
    b.resume()
    held.expect_closed(timeout=30)  # it is not the owner any more
    will.expect_closed(timeout=30)  # its will has fired
    c.settled()
    watcher.expect_nothing()  # and does not fire again
    moved.expect_nothing()
    b.connect("p2").publish("q", b"y", qos=1)
    moved.receive(payload=b"y")
    moved.expect_nothing()


def test_nobody_adopts_before_every_host_could_renew(cluster):
    """After Redis was away for longer than a lease all hosts are still themselves."""
    c = cluster(hosts=3)
    clients = [host.connect(f"c{i}", **DURABLE) for i, host in enumerate(c)]
    for i, client in enumerate(clients):
        client.subscribe(f"q/{i}", qos=1)
    keys = {node["key"] for node in c[0].cluster_status()["nodes"]}
    c.redis.pause()
    for host in c:
        host.fan_out("redis down")
    c.redis.resume()
    c.settled()
    assert {node["key"] for node in c[0].cluster_status()["nodes"]} == keys  # the lives they had
    publisher = c[0].connect("p")
    for i, client in enumerate(clients):
        publisher.publish(f"q/{i}", b"x", qos=1)
        client.receive(payload=b"x")
        client.expect_nothing()


def test_adopter_that_dies_is_followed_by_another(cluster):
    c = cluster(hosts=3)
    first, second, last = c
    for i in range(20):
        client = first.connect(f"c{i}", **DURABLE)
        client.subscribe(f"q/{i}", qos=1)
        client.disconnect()
    publisher = last.connect("p")
    for i in range(20):
        publisher.publish(f"q/{i}", b"x", qos=1)
    first.kill()
    second.kill()
    last.sees(last)
    for i in range(20):
        returned(last, f"c{i}").receive(payload=b"x", timeout=30)


def test_host_that_starts_while_another_one_and_redis_are_down_loses_nothing_for_it(cluster):
    """Nobody who lived through it can say what the other host wants: it is in the store."""
    with Redis(appendonly="yes") as redis:
        c = cluster(hosts=2, redis=redis)
        a, b = c
        b.connect("c", **DURABLE).subscribe("q", qos=1)
        b.connect("m", **DURABLE).subscribe("$share/g/q", qos=2)
        a.connect("p").publish("q", b"before", qos=1)
        c.copied()
        b.kill()
        redis.kill()
        a.kill()
        a.start()
        publisher = a.connect("p", timeout=ADOPTION_TIMEOUT)
        publisher.send_publish("q", b"1", 1)
        publisher.send_publish("q", b"2", 2)
        redis.start()
        for client in (returned(a, "c"), returned(a, "m", 1)):
            assert {client.receive(timeout=30).payload for _ in range(3)} == {b"before", b"1", b"2"}
