"""The conformance tests share one broker with two workers; a test that needs another configuration asks broker_with."""
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support_py"))

from mm.broker import Broker  # noqa: E402
from mm.fixtures import broker_with, connect, open_socket, unique  # noqa: E402, F401


def pytest_configure(config):
    config.addinivalue_line("markers", "conformance(version, *ids): the normative statements that the test shows")


@pytest.fixture(scope="session")
def broker():
    with Broker(workers=2) as running:
        yield running
