"""The commands, the configuration's errors, and the background."""
import json
import os
import signal
import subprocess
import time

import pytest

from mm.broker import ROOT, alive, binary, eventually
from processes import BINARY, Processes


# -------------------------------------------------------------------- status


def test_status_tables():
    with Processes(workers=2).start() as p:
        for _ in range(5):
            p.ask()
        code, out, _ = p.run("status")
        assert code == 0
        assert "GLOBAL STATUS" in out and out.count("PROCESS STATUS") == 2
        rows = {row[0]: row for row in map(str.split, out.splitlines()) if row}
        assert rows["pid"] == ["pid", "memory", "listening", "name", "connections", "clients", "sessions", "subscriptions",
                               "total_request", "qps", "status"]
        assert rows[str(p.pid_of(0))][2:4] == [p.url, "mqtt/0"]
        assert rows[str(p.pid_of(1))][-1] == "[idle]"
        assert rows["Summary"][8] == "5"
        assert rows["Summary"][-1] == "[Summary]"


def test_status_says_whether_all_are_ready():
    with Processes(workers=2) as p:
        assert p.run("status")[::2] == (1, f"mqtt-master: not running ({p.path('run')})\n")
        p.behave(1, "slow:1500")
        p.spawn()
        eventually(lambda: p.status_code() == 3, "running, not ready")
        assert "[starting]" in p.run("status")[1]
        eventually(lambda: p.status_code() == 0, "ready")


def test_status_as_json_counts_deaths():
    with Processes(workers=2).start() as p:
        old = p.pid_of(0)
        os.kill(old, signal.SIGKILL)
        p.replaced(0, old)
        status = json.loads(p.run("status", "--json")[1])
        assert status["pid"] == p.process.pid
        assert [worker["name"] for worker in status["workers"]] == ["mqtt/0", "mqtt/1"]
        assert status["workers"][1]["state"] == "ready"
        assert status["workers"][1]["memory"] > 1e6
        assert status["exits"] == [{"group": "mqtt", "status": "signal 9", "count": 1}]


# -------------------------------------------------------------------- configuration


BAD = """{
  "daemonise": true,
  "stop_timeout": -1,
  "workers": {
    "mqtt": {"listen": ["mqtt://localhost", "mqtts://0.0.0.0:8883"], "count": 0, "context": {"tls": {}}}
  },
  "mqtt": {"max_inflight": 0, "max_inflight": 70000},
  "auth": {"password_file": "users"}
}"""
BAD_REPORT = """DIR/workers.json: 9 errors
  mqtt.max_inflight: given twice
  daemonise: unknown key; did you mean "daemonize"?
  stop_timeout: found -1, expected a number from 0 to 3600
  workers.mqtt.listen[0]: found "mqtt://localhost": "localhost" is not a numeric address; expected one like 0.0.0.0, \
127.0.0.1 or [::1]
  workers.mqtt.listen[1]: found "mqtts://0.0.0.0:8883": TLS (mqtts://) is not in this build, expected mqtt://
  workers.mqtt.count: found 0, expected a whole number from 1 to 256, or "cpu", "cpu*1", "cpu*2", ...
  workers.mqtt.context.tls: found {}, but TLS is not in this build; expected no such key
  mqtt.max_inflight: found 70000, expected a whole number from 1 to 65535
  auth.password_file: found "users", but authentication is not in this build; expected no such key
"""


@pytest.mark.parametrize("command", ["check", "start"])
def test_bad_configuration_is_refused_with_all_its_errors(command):
    with Processes() as p:
        p.configure(BAD)
        code, out, stderr = p.run(command)
        assert (code, out, stderr.replace(str(p.directory), "DIR")) == (2, "", BAD_REPORT)
        assert not p.path("run").exists()


def test_broken_json_is_refused_with_its_place():
    with Processes() as p:
        p.configure('{\n  "mqtt": {\n    "max_inflight" 5\n  }\n}')
        code, _, stderr = p.run("check")
        assert code == 2
        assert stderr.startswith(f"{p.file}: 1 error\n  line 3, column 20: syntax error")


def test_check_shows_what_the_configuration_means():
    with Processes(workers=3) as p:
        code, out, stderr = p.run("check")
        assert (code, stderr) == (0, "")
        head, _, rest = out.partition("\n")
        assert head == "ok"
        assert json.loads(rest)["workers"]["mqtt"]["count"] == 3
        assert json.loads(rest)["mqtt"]["max_inflight"] == 20


def test_a_mistake_in_the_file_does_not_keep_the_broker_from_being_stopped():
    with Processes().start() as p:
        p.configure('{"mqtt": {"max_inflight": 0}}')
        assert p.run("stop")[0] == 0


def test_options_reference():
    with Processes() as p:
        code, out, _ = p.run("check", "--options")
        assert code == 0
        assert "| `stall_timeout` | `5` | a number from 0.2 to 3600 | seconds without a heartbeat" in out


def test_the_example_configuration_is_good():
    done = subprocess.run([BINARY, "check", "-c", str(ROOT / "deploy/workers.example.json")], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    config = json.loads(done.stdout.partition("\n")[2])
    assert config["run_dir"] == str(ROOT / "run")
    assert config["workers"]["mqtt"]["listen"] == ["mqtt://127.0.0.1:1883"]


@pytest.mark.parametrize("arguments, words", [
    (["dance"], "unknown command dance"),
    (["start", "--json"], "--json does not go with start"),
    (["-c"], "-c needs a value"),
])
def test_mistakes_on_the_command_line(arguments, words):
    done = subprocess.run([BINARY, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, f"mqtt-master: {words}; see mqtt-master --help\n")


def test_missing_file():
    done = subprocess.run([BINARY, "-c", "/nowhere.json"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2, "/nowhere.json: 1 error\n  cannot be read: No such file or directory\n")


def test_without_rights_to_the_directories():
    with Processes(run_dir="/proc/nowhere/run") as p:
        code, _, stderr = p.run()
    assert code == 1
    assert stderr.startswith("mqtt-master: cannot start: cannot make the directory /proc/nowhere/run: ")


# -------------------------------------------------------------------- in the background


def test_daemon():
    with Processes(workers=2, stdout_file="out") as p:
        p.behave(1, "slow:500")
        begun = time.monotonic()
        code, out, stderr = p.run("start", "-d")
        assert (code, stderr) == (0, "")
        assert "to stop. Start success." in out
        assert time.monotonic() - begun >= 0.5
        assert p.run("status")[0] == 0  # ready when it returns
        pid = p.daemon()[0]
        assert os.getsid(pid) != os.getsid(0) and os.getsid(pid) != pid
        assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (1, 2)} == {str(p.path("out"))}
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        assert p.run("stop")[0] == 0
        eventually(lambda: not alive(pid), "gone", 1)


def test_daemon_that_cannot_start_says_why():
    with Processes().start() as p, Processes() as q:
        q.configure({"workers": {"mqtt": {"listen": p.url}}})
        code, _, stderr = q.run("-d", "-q")
        assert (code, stderr) == (1, f"mqtt-master: cannot start: cannot listen on {p.url}: Address already in use\n")


def test_daemon_whose_workers_cannot_start_says_where_to_look():
    with Processes(workers=1) as p:
        p.behave(0, "fatal")
        code, out, stderr = p.run("-d")
        assert (code, out) == (1, "")
        assert stderr == (f"mqtt-master: the workers did not start; see {p.path('run/mqtt-master.log')}\n")
        assert not p.daemon()


def test_workers_open_the_log_again_at_hup():
    with Processes(workers=2, daemonize=True) as p:
        p.binary = binary()  # with real workers
        assert p.run("-q")[0] == 0
        p.path("run/mqtt-master.log").rename(p.path("run/old.log"))
        os.kill(p.daemon()[0], signal.SIGHUP)
        eventually(lambda: "log file opened again" in p.log(), "the new log")
        assert p.run("stop")[0] == 0
        assert p.log().count("worker stopped") == 2


def test_daemon_opens_its_log_again_at_hup():
    with Processes(daemonize=True) as p:
        assert p.run("-q")[0] == 0
        p.path("run/mqtt-master.log").rename(p.path("run/old.log"))
        os.kill(p.daemon()[0], signal.SIGHUP)
        eventually(lambda: "log file opened again" in p.log(), "the new log")
        assert p.run("stop")[0] == 0
        assert "all workers are ready" in p.text("run/old.log")
