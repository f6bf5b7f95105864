"""No input crashes, wedges or grows a worker: packets that are almost right, from a seeded generator."""
import random

import pytest

from mm import packets
from mm.broker import MOSQUITTO
from mm.client import Client
from mm.fixtures import each_version, seeds
from mm.packets import V5, Type, Will

ROUNDS = 150


def right_packets(version, unique):
    """One of each kind, with every property that it can have."""
    properties = {"payload_format_indicator": 1, "message_expiry_interval": 10, "content_type": "t",
                  "response_topic": "r", "correlation_data": b"c", "user_property": [("a", "b")], "topic_alias": 3}
    return [
        packets.connect(unique, version, will=Will("w", b"x", 1, True, will_delay_interval=1, content_type="t"),
                        username="u", password=b"p",
                        properties={"session_expiry_interval": 5, "receive_maximum": 10, "maximum_packet_size": 1000,
                                    "topic_alias_maximum": 5, "user_property": [("a", "b")]}),
        packets.publish(unique, b"payload", 0, version=version),
        packets.publish(unique, b"payload", 1, 10, True, version=version, properties=properties),
        packets.publish(unique, b"payload", 2, 11, version=version, properties=properties),
        packets.acknowledge(Type.PUBREL, 11),
        packets.acknowledge(Type.PUBACK, 1, *((0, {"reason_string": "x"}) if version == V5 else ())),
        packets.acknowledge(Type.PUBREC, 2),
        packets.acknowledge(Type.PUBCOMP, 2),
        packets.subscribe(12, [(f"{unique}/+/#", 1), ("$share/g/a", 2)], version, {"subscription_identifier": 200}),
        packets.unsubscribe(13, [f"{unique}/+/#", "$share/g/a"], version),
        packets.PINGREQ,
        packets.disconnect(4, {"reason_string": "x"}) if version == V5 else packets.disconnect(),
    ]


def spoil(data, rng):
    """Flip, cut, insert, repeat or overwrite a few bytes; or leave it as it is."""
    data = bytearray(data)
    for _ in range(rng.choice([0, 1, 1, 2, 5])):
        at = rng.randrange(len(data)) if data else 0
        change = rng.randrange(5)
        if change == 0 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif change == 1:
            del data[at:at + rng.randrange(1, 8)]
        elif change == 2:
            data[at:at] = rng.randbytes(rng.randrange(1, 8))
        elif change == 3:
            data[at:at] = data[at:at + rng.randrange(1, 20)]
        elif data:
            data[at] = rng.choice([0x00, 0x7F, 0x80, 0xFF])
    return bytes(data)


@each_version
@pytest.mark.parametrize("seed", seeds(2))
def test_almost_right_packets(broker, connect, version, seed, unique):
    """Whatever comes of them, the connection ends when its client ends it, the worker lives and serves others."""
    rng = random.Random(seed)
    before = {} if MOSQUITTO else broker.worker_pids()
    right = right_packets(version, unique)
    for number in range(ROUNDS):
        with Client(broker.port(number), version) as client:
            if rng.random() < 0.8:
                client.connect(f"{unique}-{number}")
            stream = b"".join(spoil(packet, rng) for packet in rng.choices(right, k=4))
            cut = rng.randrange(1, 100)
            for at in range(0, len(stream), cut):
                client.send(stream[at:at + cut])
            client.finish()
            while client.absorb():  # undecoded: the version may have been spoiled too
                pass
    sub, pub = connect(), connect(worker=1)
    sub.subscribe(unique)
    pub.publish(unique, b"still here")
    sub.wait_for(Type.PUBLISH, payload=b"still here")
    assert MOSQUITTO or broker.worker_pids() == before, "a worker died"
