"""The master's HTTP server: /metrics, /healthz, /readyz."""
import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess

import pytest

from mm.broker import MOSQUITTO, Broker, binary, eventually, free_ports
from mm.client import Client

pytestmark = pytest.mark.skipif(MOSQUITTO, reason="this is mqtt-master's")

SAMPLE = re.compile(r'^[a-z_0-9]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.]+$')


@contextlib.contextmanager
def admin_broker(workers=2):
    port = free_ports(1)[0]
    with Broker(workers=workers, config={"admin": {"listen": f"http://127.0.0.1:{port}"}}) as broker:
        broker.admin = port
        yield broker


def ask(port, path, method="GET", body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, body=body)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def metric(port, name):
    """The sum over the workers."""
    text = ask(port, "/metrics")[1]
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith((name + "{", name + " ")))


def test_metrics_count_what_the_workers_do():
    with admin_broker() as broker:
        before = metric(broker.admin, "mqtt_master_publish_received_total")
        with Client(broker.port(0)) as client:
            client.connect("c")
            client.publish("t", b"x", qos=1)
            assert metric(broker.admin, "mqtt_master_clients_connected") == 1
        eventually(lambda: metric(broker.admin, "mqtt_master_clients_connected") == 0, "gone")
        assert metric(broker.admin, "mqtt_master_publish_received_total") == before + 1
        status, text = ask(broker.admin, "/metrics")
        assert status == 200
        for line in text.splitlines():
            assert line.startswith(("# HELP mqtt_master_", "# TYPE mqtt_master_")) or SAMPLE.match(line), line
        families = re.findall(r"^# TYPE (\S+)", text, re.M)
        assert len(families) == len(set(families)) > 80


def test_readyz_follows_the_workers():
    with admin_broker() as broker:
        assert ask(broker.admin, "/readyz") == (200, "ready\n")
        assert ask(broker.admin, "/healthz") == (200, "ok\n")
        pid = broker.pid_of(1)
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: ask(broker.admin, "/readyz")[0] == 503, "a stuck worker is replaced", 20)
        broker.all_ready()
        eventually(lambda: ask(broker.admin, "/readyz") == (200, "ready\n"), "ready again")
        assert metric(broker.admin, "mqtt_master_worker_exits_total") == 1


def test_other_paths_and_methods():
    with admin_broker(workers=1) as broker:
        assert ask(broker.admin, "/")[0] == 404
        assert ask(broker.admin, "/metrics/../readyz")[0] == 404
        assert ask(broker.admin, "/readyz", "POST", b"x" * 100_000)[0] == 405
        assert ask(broker.admin, "/readyz?verbose")[0] == 200
        status, text = ask(broker.admin, "/readyz", "HEAD")
        assert (status, text) == (200, "")


def test_hostile_peers_do_not_stop_it():
    """Silent connections, garbage, endless heads: the master goes on supervising, and answers who asks properly."""
    with admin_broker(workers=1) as broker, contextlib.ExitStack() as stack:
        for bytes_ in [b"", b"\x10\x00\xff" * 100, b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 1_000_000]:
            for _ in range(5):
                s = stack.enter_context(socket.create_connection(("127.0.0.1", broker.admin)))
                with contextlib.suppress(OSError):
                    s.sendall(bytes_)
        assert ask(broker.admin, "/healthz") == (200, "ok\n")
        old = broker.pid_of(0)
        broker.kill_workers(0)
        eventually(lambda: broker.pid_of(0) not in (0, old), "replaced")
        broker.all_ready()
        assert ask(broker.admin, "/readyz")[0] == 200


def test_an_address_that_is_taken_is_an_error():
    with admin_broker(workers=1) as broker:
        other = Broker(workers=1, config={"admin": {"listen": f"http://127.0.0.1:{broker.admin}"}})
        other.spawn()
        assert other.process.wait(20) == 1
        assert f"cannot listen on http://127.0.0.1:{broker.admin}" in other.stderr_file.read_text()
        other.remove()


def test_check_names_what_is_wrong():
    with admin_broker(workers=1) as broker:
        file = broker.directory / "bad.json"
        file.write_text('{"admin": {"listen": "https://127.0.0.1:1"}}')
        done = subprocess.run([binary(), "check", "-c", str(file)], capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 2
        assert "admin.listen" in done.stderr and "HTTPS (https://) is not in this build" in done.stderr
