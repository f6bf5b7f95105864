"""The system tests run real brokers: `broker` is one for a test file and a number of workers; see also mm.fixtures."""
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support_py"))

from mm.broker import Broker  # noqa: E402
from mm.fixtures import broker_with, connect, open_socket, unique  # noqa: E402, F401


@pytest.fixture(scope="module", params=[1, 2, 4], ids=lambda workers: f"{workers}w")
def broker(request):
    """A broker with 1, 2 and 4 workers; `broker.port(1)` is a port of another worker, if there is another."""
    with Broker(workers=request.param) as running:
        yield running
