"""Nothing is left behind: after churn Redis holds what it held before."""
import re
import time

from mm.broker import eventually
from mm.cluster import elapsed
from mm.packets import Will

EXPIRY = {"session_expiry_interval": 600}


def churn(hosts, round_number):
    """Clients, sessions, subscriptions, retained messages and wills that come and go."""
    a, b = hosts
    publisher = a.connect("churn-p", 1)
    for i in range(10):
        name = f"churn-{round_number}-{i}"
        client = a.connect(name, clean=False, properties=EXPIRY, will=Will(f"{name}/will", b"x", qos=1))
        client.subscribe(f"{name}/#", qos=1)
        client.abort()
        publisher.publish(f"{name}/1", b"queued", qos=1)
        publisher.publish(f"{name}/2", b"kept", qos=1, retain=True)
        moved = b.connect(name, clean=False, properties=EXPIRY)
        moved.receive()
        moved.disconnect()
        publisher.publish(f"{name}/2", b"", qos=1, retain=True)
        b.connect(name, clean=True).disconnect()
    publisher.disconnect()


def content(redis):
    """{key: how many elements}, and for streams the entries that wait."""
    sizes = {"string": "STRLEN", "hash": "HLEN", "set": "SCARD", "zset": "ZCARD", "list": "LLEN", "stream": "XLEN"}
    found = {}
    for key in redis.keys():
        kind = redis.call("TYPE", key)
        if kind != "none":
            found[key] = (kind, redis.call(sizes[kind], key) if kind != "string" else 0)
    return found


def test_keyspace_is_back_at_its_start_after_churn(cluster):
    c = cluster(hosts=2)
    churn(c, 0)  # what is made once is there then
    # (In a young cluster what has ended is kept until every host had the time to tell what it holds.)
    eventually(lambda: not any("dir:" in key for key in c.redis.keys()), "no session is left", 30)
    start = set(content(c.redis))
    for round_number in range(1, 4):
        churn(c, round_number)
    # Deletions of retained messages and changes are kept for a while, by design: their number is bounded, not zero.
    eventually(lambda: set(content(c.redis)) == start, f"the keys of the start: {start}", 30)
    for key, (kind, count) in content(c.redis).items():
        assert count < 400, (key, kind, count)
    names = " ".join(c.redis.keys())
    assert "churn" not in names  # no topic and no client id is a key


def test_host_that_left_leaves_nothing(cluster):
    c = cluster(hosts=2)
    before = set(c.redis.keys())
    third = c.add_host()
    client = third.connect("c", clean=False, properties=EXPIRY)
    client.subscribe("t/#", qos=1)
    client.disconnect()
    third.kill()
    c[0].sees(c[0], c[1])
    c[0].connect("c", clean=True).disconnect()
    eventually(lambda: not [key for key in c.redis.keys() if "host-2" in key], "no key of the dead host", 60)
    buried = {"mqtt-master:buried"}  # for a day, that nobody takes it for lost
    eventually(lambda: set(c.redis.keys()) - buried <= before, "the keys of before", 30)


def test_inboxes_are_trimmed(cluster):
    """All of them, but not one by one: that would cost Redis as much as the messages."""
    c = cluster(hosts=2)
    a, b = c
    subscriber = b.connect("s")
    subscriber.subscribe("t", qos=1)
    publisher = a.connect("p")
    c.redis.call("CONFIG", "RESETSTAT")
    begun = time.monotonic()
    for _ in range(500):
        publisher.publish("t", b"x" * 1000, qos=1)
        subscriber.receive()
    trims = int(re.search(r"cmdstat_xtrim:calls=(\d+)", c.redis.call("INFO", "commandstats"))[1])
    ticks = elapsed(begun) / 0.05  # of one gateway; the other has little to trim
    assert trims <= 2 * ticks + 20, (trims, ticks)

    def waiting():
        return sum(count for key, (kind, count) in content(c.redis).items() if kind == "stream" and "in:" in key)
    eventually(lambda: waiting() == 0, "the inboxes are trimmed", 20)
