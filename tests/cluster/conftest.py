"""The cluster's tests run real hosts and a real redis-server, all on this machine; see mm.cluster."""
import contextlib
import itertools
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support_py"))

from mm.cluster import Cluster  # noqa: E402
from mm.fixtures import unique  # noqa: E402, F401


@pytest.fixture(scope="module")
def shared_cluster():
    """Two hosts of two workers, for the tests of a file that leave everything alive."""
    with Cluster(hosts=2, workers=2) as running:
        yield running


@pytest.fixture
def cluster():
    """cluster(hosts=…, workers=…, redis=…, **config) -> a Cluster for one test, which may break what it likes of it."""
    with contextlib.ExitStack() as stack:
        yield lambda **fields: stack.enter_context(Cluster(**fields))


@pytest.fixture
def connect(unique):
    """connect(host, client_id=…, worker=…, …) -> a connected Client that is closed when the test ends."""
    clients = []
    numbers = itertools.count()

    def make(host, client_id=None, worker=0, **fields):
        name = f"{unique}-{next(numbers)}" if client_id is None else client_id
        clients.append(host.connect(name, worker, **fields))
        return clients[-1]

    yield make
    for client in clients:
        client.close()
