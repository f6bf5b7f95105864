"""A host whose inbox is on a Redis server of its own (`redis.inbox`), beside the one that has everything else."""
import pytest

from mm.broker import eventually
from mm.cluster import DURABLE, returned
from mm.packets import Type
from mm.redis import Redis


@pytest.fixture
def apart(cluster):
    """A cluster whose second host has its inbox elsewhere, and that server."""
    with Redis() as further:
        c = cluster(hosts=1)
        c.add_host(redis={"inbox": f"127.0.0.1:{further.port}"})
        c.settled()
        yield c, further


def inboxes(redis):
    return {key.rsplit(":", 1)[1].split(".")[0] for key in redis.keys() if ":num:" in key}


def test_messages_go_to_where_the_inbox_is(apart):
    c, further = apart
    a, b = c
    here, there = a.connect("here"), b.connect("there")
    for client in (here, there):
        client.subscribe("t/#", qos=2)
    for qos in (0, 1, 2):
        for host in (a, b):
            host.connect("p").publish(f"t/{qos}", b"x", qos=qos)
            for client in (here, there):
                assert client.receive().topic == f"t/{qos}"
    assert inboxes(further) == {"host-1"}
    assert inboxes(c.redis) == {"host-0"}
    b.leave_session("c", "q")
    a.connect("p").publish("q", b"kept", qos=1)
    moved = a.connect("c", **DURABLE)
    assert moved.connack.session_present
    moved.receive(payload=b"kept")


def test_while_that_server_is_away_only_that_host_is_out_of_reach(apart):
    c, further = apart
    a, b = c
    third = c.add_host()
    c.settled()
    subscribers = {host: host.connect(f"s-{host}") for host in c}
    for subscriber in subscribers.values():
        subscriber.subscribe("t", qos=1)
    further.kill()
    for host in c:
        assert host.fan_out("joining").cluster_status()["missing_servers"] == 1
    publisher = a.connect("p", 1)
    packet_id = publisher.send_publish("t", b"waits", qos=1)
    for host in (a, third):
        subscribers[host].receive(payload=b"waits")
    publisher.expect_nothing()  # its acknowledgement waits for the host that cannot be told
    b.connect("local", 1).publish("t", b"from b", qos=1)
    for subscriber in subscribers.values():
        subscriber.receive(payload=b"from b")
    assert b.live_nodes() == {"host-0", "host-1", "host-2"}  # all have their leases
    further.start()  # without what it had
    publisher.wait_for(Type.PUBACK, packet_id=packet_id, timeout=30)
    c.settled()
    subscribers[b].receive(payload=b"waits", timeout=30)
    a.connect("p2").publish("t", b"after", qos=1)
    for subscriber in subscribers.values():
        subscriber.receive(payload=b"after")


def test_dead_host_is_adopted_with_its_inbox_and_leaves_nothing_on_its_server(apart):
    c, further = apart
    a, b = c
    before = set(c.redis.keys())
    b.leave_session("c", "q")
    c.copied()
    b.kill()
    a.connect("p").publish("q", b"in its inbox", qos=1)
    moved = returned(a, "c")
    moved.receive(payload=b"in its inbox", timeout=30)
    moved.disconnect()
    a.connect("c", clean=True).disconnect()
    eventually(lambda: not [key for key in c.redis.keys() if "host-1" in key], "no key of the dead host", 60)
    eventually(lambda: set(c.redis.keys()) <= before | {"mqtt-master:buried"}, "the keys of before", 30)
    assert not [key for key in further.keys() if "host-1" in key]
