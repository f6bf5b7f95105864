"""Workers, gateways and whole hosts that die or stand still; adoption."""
import concurrent.futures
import os
import signal

import pytest

from mm.broker import eventually
from mm.client import Client
from mm.cluster import ADOPTION_TIMEOUT
from mm.packets import Reason, Will

EXPIRY = {"session_expiry_interval": 600}
DURABLE = {"clean": False, "properties": EXPIRY}


def returned(host, client_id, worker=0, timeout=ADOPTION_TIMEOUT):
    """A durable client comes back here; it may be told to come again while its session is on its way."""
    def connected():
        client = Client(host.port(worker), host=host.address)
        try:
            return client.connect(client_id, **DURABLE)
        except (AssertionError, OSError):
            client.close()
            return None
    client = eventually(connected, f"{client_id} connects to {host}", timeout)
    assert client.connack.session_present
    return client


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


def test_host_that_stops_and_starts_within_its_lease_keeps_its_sessions(cluster):
    c = cluster(hosts=2)
    a, b = c
    client = b.connect("c", **DURABLE)
    client.subscribe("q", qos=1)
    client.disconnect()
    b.stop()
    a.connect("p").publish("q", b"while away", qos=1)
    b.start()
    c.settled()
    returned(b, "c").receive(payload=b"while away", timeout=30)
