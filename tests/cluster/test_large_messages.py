"""A message that goes to another host in parts arrives whole, whatever breaks in the middle."""
import concurrent.futures

import pytest

from mm.broker import eventually
from mm.redis import Redis

SIZE = 24_000_000
BREAKS = {
    "the sender's gateway": lambda a, b, redis: a.kill_gateway(),
    "the receiver's gateway": lambda a, b, redis: b.kill_gateway(),
    "the connections": lambda a, b, redis: redis.drop_clients(),
    "all that Redis has": lambda a, b, redis: redis.restart(empty=True),
}


@pytest.mark.parametrize("what", BREAKS)
def test_large_message_arrives_once_whatever_is_lost_in_the_middle(cluster, what):
    with Redis() as redis:
        c = cluster(hosts=2, workers=1, redis=redis)
        a, b = c
        subscriber, publisher = b.connect("s", timeout=60), a.connect("p", timeout=60)
        subscriber.subscribe("t", qos=2)
        payload = bytes(range(250)) * (SIZE // 250)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            sent = pool.submit(publisher.publish, "t", payload, qos=2)
            eventually(lambda: SIZE / 5 < a.ask()["cluster"]["waiting_bytes"] < SIZE * 4 / 5, "half of it is there", 30)
            BREAKS[what](a, b, redis)
            assert subscriber.receive(timeout=60).payload == payload
            sent.result()
        subscriber.expect_nothing()
        publisher.publish("t", b"next", qos=2)
        subscriber.receive(payload=b"next")
        eventually(lambda: a.ask()["cluster"]["waiting_bytes"] == 0, "nothing waits")
        eventually(lambda: b.ask()["cluster"]["inbox_bytes"] == 0, "nothing is left in the inbox")
