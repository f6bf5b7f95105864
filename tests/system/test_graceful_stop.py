"""`stop -g`: listeners close at once, clients are sent away a few at a time, bounded by drain_timeout."""
import subprocess

import pytest
from mm.broker import Broker, binary
from mm.client import Client
from mm.packets import V5, Reason, Type


def stop_gracefully(broker):
    command = [binary(), "stop", "-g", "-c", str(broker.config_file)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_client_is_told_and_the_broker_ends(workers):
    with Broker(workers=workers, config={"drain_timeout": 20, "drain_rate": 50}) as broker:
        clients = [Client(broker.port(i % workers), V5).connect(f"c{i}") for i in range(12)]
        stop = stop_gracefully(broker)
        for client in clients:
            client.expect(Type.DISCONNECT, reason=Reason.SERVER_SHUTTING_DOWN)
            client.close()
        assert stop.wait(20) == 0, stop.stdout.read()
        assert broker.process.wait(5) == 0


def test_clients_are_sent_away_a_few_at_a_time():
    """One a tick of 100 ms: when the first is told, the last one's traffic still passes."""
    with Broker(workers=1, config={"drain_timeout": 30, "drain_rate": 1}) as broker:
        clients = [Client(broker.port(0), V5).connect(f"c{i}") for i in range(30)]
        stop = stop_gracefully(broker)
        clients[0].expect(Type.DISCONNECT, reason=Reason.SERVER_SHUTTING_DOWN)
        clients[-1].fence()
        for client in clients[1:]:
            client.expect(Type.DISCONNECT, reason=Reason.SERVER_SHUTTING_DOWN)
            client.close()
        assert stop.wait(30) == 0, stop.stdout.read()
        assert broker.process.wait(5) == 0
