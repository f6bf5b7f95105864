"""Fixtures and marks that the conformance and the system tests share; each conftest.py imports them."""
import itertools
import os

import pytest

from mm.broker import Broker
from mm.client import TIMEOUT, Client
from mm.packets import V5, V31, V311, Type

VERSION_NAMES = {V31: "3.1", V311: "3.1.1", V5: "5.0"}

each_version = pytest.mark.parametrize("version", [V31, V311, V5], ids=VERSION_NAMES.get)
each_current_version = pytest.mark.parametrize("version", [V311, V5], ids=VERSION_NAMES.get)
each_qos = pytest.mark.parametrize("qos", [0, 1, 2], ids=lambda qos: f"qos{qos}")

_serial = itertools.count(1)


@pytest.fixture
def unique():
    """A word that no other test uses: for topics and client identifiers in a broker that many tests share."""
    return f"t{next(_serial)}"


@pytest.fixture
def connect(broker, unique):
    """connect(client_id=…, worker=…, version=…, …) -> a connected Client that is closed when the test ends."""
    clients = []
    numbers = itertools.count()

    def make(client_id=None, worker=0, version=V5, at=None, timeout=TIMEOUT, receive_buffer=None, **fields):
        target = at or broker
        client = Client(target.port(worker), version, timeout, host=target.address, receive_buffer=receive_buffer)
        clients.append(client)
        return client.connect(f"{unique}-{next(numbers)}" if client_id is None else client_id, **fields)

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def open_socket(broker):
    """open_socket(worker=…, version=…) -> a Client that has sent no CONNECT."""
    clients = []

    def make(worker=0, version=V5, at=None, timeout=TIMEOUT):
        clients.append(Client((at or broker).port(worker), version, timeout))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture(scope="session")
def broker_with(request):
    """broker_with(workers=…, **config sections) -> a running Broker, started once a session for each configuration."""
    running = {}

    def get(workers=2, **config):
        key = repr((workers, sorted(config.items())))
        if key not in running:
            running[key] = Broker(workers, config).start()
        return running[key]

    yield get
    failures = []
    for broker in running.values():
        try:
            broker.stop()
        except AssertionError as error:
            failures.append(str(error))
        broker.remove()
    assert not failures, "\n".join(failures)


class Marker:
    """A message published behind others, to know that they would have arrived.

    `flush` returns what came before it, acknowledged."""

    def __init__(self, publisher, subscriber, topic="mm/marker"):
        self.publisher, self.subscriber = publisher, subscriber
        self.topic = f"{topic}/{next(_serial)}"
        subscriber.subscribe(self.topic, qos=1)

    def flush(self):
        self.publisher.publish(self.topic, b"marker", qos=1)
        before = []
        while True:
            packet = self.subscriber.next()
            if packet.type == Type.PUBLISH:
                self.subscriber.acknowledge(packet)
                if packet.topic == self.topic:
                    return before
            before.append(packet)

    def expect_nothing(self):
        before = self.flush()
        assert not before, f"unexpected: {before}"


def seeds(default):
    """Seeds for a randomised test: MM_SEED alone, or 1…N (MM_MODEL_SEEDS=N, else `default`)."""
    if os.environ.get("MM_SEED"):
        return [int(os.environ["MM_SEED"])]
    return range(1, int(os.environ.get("MM_MODEL_SEEDS", default)) + 1)


def mqtt311(*ids):
    """The test shows these statements of the 3.1.1 specification."""
    return pytest.mark.conformance("3.1.1", *ids)


def mqtt5(*ids):
    """The test shows these statements of the 5.0 specification."""
    return pytest.mark.conformance("5.0", *ids)
