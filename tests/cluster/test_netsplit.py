"""Hosts cut off from Redis by the network, and healed: what was acknowledged is there, one owner each, sets equal."""
import contextlib

import pytest

from mm.cluster import ADOPTION_TIMEOUT
from mm.namespaces import NamespaceCluster
from mm.packets import Reason, Type
from test_host_trouble import DURABLE, returned
from test_retained import agree


@pytest.fixture
def split():
    """split(hosts=…, …) -> a NamespaceCluster for one test."""
    with contextlib.ExitStack() as stack:
        yield lambda **fields: stack.enter_context(NamespaceCluster(**fields))


def test_host_that_is_cut_off_serves_its_own_and_catches_up(split):
    c = split()
    a, b = c
    local, publisher = b.connect("l", 1), b.connect("p")
    local.subscribe("t/#", qos=1)
    remote = a.connect("r")
    remote.subscribe("t/#", qos=1)
    c.partition(b)
    b.fan_out("redis down")
    ids = [publisher.send_publish(f"t/{i}", b"%d" % i, qos=1) for i in range(5)]
    assert [int(local.receive().payload) for _ in ids] == list(range(5))
    publisher.expect_nothing()  # acknowledgements wait for the other host's subscriber
    remote.expect_nothing()
    c.heal(b)
    c.settled()
    for packet_id in ids:
        publisher.wait_for(Type.PUBACK, packet_id=packet_id, timeout=30)
    assert [int(remote.receive(timeout=30).payload) for _ in ids] == list(range(5))


def test_host_that_is_cut_off_past_its_lease_closes_what_was_taken_over(split):
    c = split()
    a, b = c
    held = b.connect("c", **DURABLE)
    held.subscribe("q", qos=1)
    c.partition(b)
    a.sees(a)
    moved = returned(a, "c")
    a.connect("p").publish("q", b"x", qos=1)
    moved.receive(payload=b"x", timeout=ADOPTION_TIMEOUT)
    c.heal(b)
    c.settled()
    held.expect_closed(Reason.SESSION_TAKEN_OVER, timeout=30)
    moved.expect_nothing()


@pytest.mark.parametrize("qos", [1, 2])
def test_what_was_accepted_while_cut_off_goes_after_the_session(split, qos):
    """At least once holds for what was acknowledged, though the session went on elsewhere meanwhile."""
    c = split()
    a, b = c
    publisher = b.connect("p")
    away = b.connect("c", **DURABLE)
    away.subscribe("q", qos=qos)
    away.disconnect()
    publisher.publish("q", b"before", qos=qos)
    c.partition(b)
    b.fan_out("redis down")
    publisher.publish("q", b"apart", qos=qos)
    a.sees(a)
    moved = returned(a, "c")
    moved.receive(payload=b"before")
    c.heal(b)
    moved.receive(payload=b"apart", timeout=30)
    c.settled()
    moved.expect_nothing()


def test_both_sides_change_retained_messages(split):
    c = split()
    a, b = c
    ours, theirs = a.connect("a"), b.connect("b")
    for i in range(6):
        ours.publish(f"r/{i}", b"old", qos=1, retain=True)
    agree([a, b], "r/#", {f"r/{i}": b"old" for i in range(6)})
    c.partition(b)
    b.fan_out("redis down")
    ours.publish("r/0", b"a", qos=1, retain=True)
    ours.publish("r/1", b"", qos=1, retain=True)
    theirs.publish("r/2", b"b", qos=1, retain=True)
    theirs.publish("r/3", b"", qos=1, retain=True)
    ours.publish("r/4", b"a", qos=1, retain=True)
    theirs.publish("r/4", b"b", qos=1, retain=True)
    c.heal(b)
    c.settled()
    both = agree([a, b], "r/#")
    assert both.pop("r/4") in (b"a", b"b")
    assert both == {"r/0": b"a", "r/2": b"b", "r/5": b"old"}


def test_everybody_is_cut_off(split):
    c = split(hosts=3)
    clients = [host.connect(f"c{i}", **DURABLE) for i, host in enumerate(c)]
    for client in clients:
        client.subscribe("t", qos=1)
    for host in c:
        c.partition(host)
    for host in c:
        host.fan_out("redis down")
    for host in c:
        c.heal(host)
    c.settled()
    c[0].connect("p").publish("t", b"x", qos=1)
    for client in clients:
        client.receive(payload=b"x")
        client.expect_nothing()
