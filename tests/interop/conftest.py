"""Real clients against brokers with 1, 2 and 4 workers. See README.md."""
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support_py"))
sys.path.insert(0, str(HERE))

from mm.broker import Broker  # noqa: E402
from mm.fixtures import unique  # noqa: E402, F401
from mm_agents import Agent  # noqa: E402

NPM_TIMEOUT = 300


@pytest.fixture(scope="session", params=[1, 2, 4], ids=lambda workers: f"{workers}w")
def broker(request):
    with Broker(workers=request.param) as running:
        yield running


@pytest.fixture(scope="session")
def node_modules():
    """MQTT.js as package-lock.json has it."""
    wanted, got = HERE / "package-lock.json", HERE / "node_modules/.package-lock.json"
    if not got.exists() or got.stat().st_mtime < wanted.stat().st_mtime:
        npm = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=HERE,
                             timeout=NPM_TIMEOUT, capture_output=True, text=True)
        assert npm.returncode == 0, f"npm ci in {HERE}:\n{npm.stderr}"


@pytest.fixture(scope="session")
def shared_agents(node_modules):
    agents = {}
    yield agents
    for agent in agents.values():
        agent.stop()


@pytest.fixture
def agent_of(shared_agents):
    """agent_of(kind) -> an Agent of that kind."""
    own = []

    def get(kind):
        if kind.shared:
            if kind not in shared_agents:
                shared_agents[kind] = Agent(kind)
            return shared_agents[kind]
        own.append(Agent(kind))
        return own[-1]

    yield get
    for agent in own:
        agent.kill()


@pytest.fixture
def client(broker, agent_of, unique):  # noqa: F811
    """client(kind, worker=…, client_id=…) -> a client of that library, not connected yet."""
    made = []

    def make(kind, worker=0, client_id=None, agent=None):
        made.append((agent or agent_of(kind)).client(broker.port(worker), client_id or f"{unique}-{len(made)}"))
        return made[-1]

    yield make
    for one in made:
        one.close()
