"""The process model: starting, stopping, dying and being replaced. The workers are tests/system/fake_worker: they answer
each connection with "GROUP/SLOT PID NUMBER-OF-SLOTS-ACCEPTED-FOR", so no test here knows MQTT."""
import contextlib
import fcntl
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from mm.broker import ROOT, alive, children, eventually, free_ports, merged

BINARY = os.environ.get("MQTT_MASTER_FAKE", str(ROOT / "build/dev/tests/system/mqtt-master-fake"))


class Processes:
    """A master with fake workers in a directory of its own."""

    def __init__(self, workers=2, **config):
        self.directory = Path(tempfile.mkdtemp(prefix="mm-proc-"))
        self.port = free_ports(1)[0]
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self.file = self.directory / "workers.json"
        self.configure(merged({"workers": {"mqtt": {"listen": self.url, "count": workers}}}, config))
        self.process = None

    def configure(self, config):
        self.file.write_text(config if isinstance(config, str) else json.dumps(config))

    def __enter__(self):
        return self

    def __exit__(self, failure, *_):
        if failure:
            print(self.log(), self.stderr())
        for pid in [*self.workers(), *([self.process.pid] if self.process else []), *self.daemon()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process:
            self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    # ---------------------------------------------------------------- life

    def behave(self, slot, behaviour):
        """What the next process in this slot does; None: nothing special."""
        self.path("run").mkdir(mode=0o755, exist_ok=True)
        file = self.path(f"run/fake.{slot}")
        file.unlink() if behaviour is None else file.write_text(behaviour)

    def spawn(self, *arguments):
        with open(self.path("stdout"), "ab") as out, open(self.path("stderr"), "ab") as err:
            self.process = subprocess.Popen([BINARY, "-c", str(self.file), *arguments], stdin=subprocess.DEVNULL,
                                            stdout=out, stderr=err, cwd=self.directory, start_new_session=True)
        return self

    def start(self, *arguments):
        self.spawn(*arguments)
        eventually(lambda: self.status_code() == 0 or self.process.poll() is not None, "all workers ready")
        assert self.process.poll() is None, self.stderr()
        return self

    def run(self, *arguments):
        """A command; (exit code, stdout, stderr)."""
        done = subprocess.run([BINARY, "-c", str(self.file), *arguments], cwd=self.directory, capture_output=True,
                              text=True, timeout=30, check=False)
        return done.returncode, done.stdout, done.stderr

    def status_code(self):
        return self.run("status")[0]

    def send(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=10):
        return self.process.wait(timeout)

    def stop(self):
        family = [*self.workers()]
        self.send(signal.SIGTERM)
        assert self.wait() == 0, self.stderr()
        assert not any(map(alive, family))

    # ---------------------------------------------------------------- looking

    def path(self, name):
        return self.directory / name

    def text(self, name):
        return self.path(name).read_text() if self.path(name).exists() else ""

    def log(self):
        return self.text("run/mqtt-master.log")

    def stderr(self):
        return self.text("stderr")

    def daemon(self):
        pid = self.text("run/mqtt-master.pid")
        return [int(pid)] if pid else []

    def workers(self):
        """{pid: title}"""
        master = self.process.pid if self.process and self.process.poll() is None else next(iter(self.daemon()), None)
        return children(master) if master else {}

    def pid_of(self, slot):
        title = f"mqtt-master: worker mqtt/{slot}"
        found = lambda: next((pid for pid, t in self.workers().items() if t == title), None)  # noqa: E731
        return eventually(found, title)

    def replaced(self, slot, old, timeout=10.0):
        """Wait for another process in the slot; its pid."""
        return eventually(lambda: (pid := self.pid_of(slot)) != old and pid, f"a new worker {slot}", timeout)

    def ask(self, timeout=5.0):
        """One connection: (worker, pid, slots it accepts for)."""
        with socket.create_connection(("127.0.0.1", self.port), timeout) as connection:
            worker, pid, slots = connection.makefile().read().split()
            return worker, int(pid), int(slots)

    def answering(self, rounds=40):
        return {self.ask()[0] for _ in range(rounds)}


def run_with(**config):
    """(exit code, stderr) of a start that fails."""
    with Processes(**config) as p:
        code, _, stderr = p.run()
        return code, stderr.replace(str(p.directory), "DIR")


def log_time(line):
    moment = re.match(r"\S+T(\d+):(\d+):(\d+\.\d+)Z", line).groups()
    return int(moment[0]) * 3600 + int(moment[1]) * 60 + float(moment[2])


# -------------------------------------------------------------------- start and stop


def test_start_and_stop():
    with Processes(workers=2).start() as p:
        assert sorted(p.workers().values()) == ["mqtt-master: worker mqtt/0", "mqtt-master: worker mqtt/1"]
        assert p.answering() == {"mqtt/0", "mqtt/1"}
        assert p.text("run/mqtt-master.pid") == f"{p.process.pid}\n"
        p.stop()
        assert not p.path("run/mqtt-master.pid").exists()
        assert not p.path("run/mqtt-master.sock").exists()
        assert "exit_code=0" in p.log()


def test_titles_in_ps():
    with Processes(workers=1).start() as p:
        shown = subprocess.run(["ps", "-o", "args=", "-p", f"{p.process.pid},{p.pid_of(0)}"], capture_output=True,
                               text=True, check=True).stdout.splitlines()
        assert [line.strip() for line in shown] == ["mqtt-master: master", "mqtt-master: worker mqtt/0"]
        assert Path(f"/proc/{p.pid_of(0)}/cmdline").read_bytes() == b"mqtt-master: worker mqtt/0\0"
        assert Path(f"/proc/{p.pid_of(0)}/comm").read_text() == "mqtt-master\n"
        assert Path(f"/proc/{p.process.pid}/comm").read_text() == "mqtt-master\n"


def test_banner():
    with Processes(workers=2).start() as p:
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        rows = [line.split() for line in p.text("stdout").splitlines()]
        assert ["proto", "user", "worker", "listen", "count", "state"] in rows
        assert ["tcp", user, "mqtt", p.url, "2", "[OK]"] in rows
        assert p.text("stdout").endswith("Press Ctrl+C to stop. Start success.\n")


def test_quiet_has_no_banner():
    with Processes().start("-q") as p:
        assert p.text("stdout") == ""


def test_stop_command_waits_until_everything_is_free():
    with Processes().start() as p:
        assert p.run("stop") == (0, "mqtt-master has stopped\n", "")
        assert p.wait(1) == 0
        p.start()  # at once
        assert p.run("stop", "-g")[0] == 0
        assert p.run("stop")[::2] == (1, f"mqtt-master: not running ({p.path('run')})\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP])
def test_signals_that_stop(number):
    with Processes().start() as p:
        p.send(number)
        assert p.wait() == 0


def test_interrupt_from_the_terminal_reaches_the_workers_as_a_stop():
    with Processes().start() as p:
        os.killpg(p.process.pid, signal.SIGINT)  # as Ctrl+C does: to the whole group
        assert p.wait() == 0
        assert p.log().count('status="exit 0"') == 2


def test_worker_that_does_not_stop_is_killed():
    with Processes(workers=1, stop_timeout=0.5) as p:
        p.behave(0, "stubborn")
        p.start()
        begun = time.monotonic()
        p.send(signal.SIGTERM)
        assert p.wait() == 0
        assert 0.5 <= time.monotonic() - begun < 1.5


def test_second_signal_kills_at_once():
    with Processes(workers=1, stop_timeout=60) as p:
        p.behave(0, "stubborn")
        p.start()
        p.send(signal.SIGTERM)
        eventually(lambda: "stopping" in p.log(), "the first signal")
        p.send(signal.SIGTERM)
        assert p.wait(5) == 0


def test_stop_while_workers_start():
    with Processes() as p:
        p.behave(0, "mute")
        p.behave(1, "mute")
        p.spawn()
        eventually(lambda: len(p.workers()) == 2, "two workers")
        p.stop()


# -------------------------------------------------------------------- one instance


def test_second_instance_on_the_same_data_directory():
    with Processes().start() as p:
        code, _, stderr = p.run()
        assert (code, stderr) == (1, f"mqtt-master: cannot start: {p.path('data')} is in use by mqtt-master with pid "
                                     f"{p.process.pid}\n")
        assert p.run("status")[0] == 0
        assert p.answering() == {"mqtt/0", "mqtt/1"}


def test_second_instance_on_the_same_run_directory():
    with Processes().start() as p, Processes(run_dir=str(p.path("run"))) as q:
        code, _, stderr = q.run()
        assert code == 1
        assert f"{p.path('run')} is in use by mqtt-master with pid {p.process.pid}" in stderr
        assert p.run("status")[0] == 0


def test_second_instance_on_the_same_port():
    with Processes().start() as p, Processes() as q:
        q.configure({"workers": {"mqtt": {"listen": p.url}}})
        code, _, stderr = q.run()
        assert code == 1
        assert stderr.endswith(f"cannot start: cannot listen on {p.url}: Address already in use\n")
        assert not q.path("run/mqtt-master.sock").exists()


def test_port_of_a_program_that_would_share_it():
    with socket.socket() as other, Processes() as p:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", p.port))
        other.listen()
        code, _, stderr = p.run()
        assert code == 1
        assert f"cannot listen on {p.url}: Address already in use" in stderr


def test_what_a_dead_master_left_keeps_a_new_one_away():
    with Processes() as p:
        p.path("data").mkdir()
        with open(p.path("data/lock"), "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # as an orphaned worker would hold it
            lock.write("4194305\n")
            lock.flush()
            code, _, stderr = p.run()
        assert code == 1
        assert "is in use by what is left of mqtt-master with pid 4194305" in stderr
        p.start()


# -------------------------------------------------------------------- supervision


def test_killed_worker_is_replaced_within_100_ms_while_others_serve():
    with Processes(workers=2).start() as p:
        old, other = p.pid_of(0), p.pid_of(1)
        os.kill(old, signal.SIGKILL)
        new = p.replaced(0, old)
        ended, started = (next(line for line in p.log().splitlines() if words in line)
                          for words in (f"worker ended worker=mqtt/0 pid={old}", f"started worker=mqtt/0 pid={new}"))
        delay = log_time(started) - log_time(ended)
        print(f"replaced {delay * 1000:.0f} ms after it was reaped")
        assert delay < 0.1
        eventually(lambda: p.status_code() == 0, "ready again")
        assert p.answering() == {"mqtt/0", "mqtt/1"}
        assert p.pid_of(1) == other


def test_nobody_is_refused_while_a_worker_is_replaced():
    with Processes(workers=2).start() as p:
        for _ in range(3):
            victim = p.pid_of(0)
            os.kill(victim, signal.SIGKILL)
            replaced = False
            deadline = time.monotonic() + 5
            while not replaced and time.monotonic() < deadline:
                with contextlib.suppress(ConnectionResetError, ValueError):  # accepted by the one that was just killed
                    replaced = p.ask()[1] not in (victim, p.pid_of(1))
            assert replaced


def test_stopped_worker_is_killed_and_replaced():
    with Processes(workers=2, stall_timeout=1).start() as p:
        old = p.pid_of(1)
        begun = time.monotonic()
        os.kill(old, signal.SIGSTOP)
        p.replaced(1, old)
        took = time.monotonic() - begun
        print(f"replaced {took:.2f} s after it was stopped")
        assert 0.9 < took < 3
        assert not alive(old)
        assert "a worker is stuck, killing it worker=mqtt/1" in p.log()
        eventually(lambda: p.status_code() == 0, "ready again")


def test_killed_master_leaves_nothing_behind():
    with Processes(workers=3).start() as p:
        workers = list(p.workers())
        os.kill(workers[0], signal.SIGSTOP)
        p.send(signal.SIGKILL)
        p.wait()
        eventually(lambda: not any(map(alive, workers)), "no worker left", 1)
        p.start()
        p.stop()


def test_worker_that_keeps_dying_waits_longer_each_time():
    with Processes(workers=2).start() as p:
        p.behave(1, "crash_ready")
        os.kill(p.pid_of(1), signal.SIGKILL)
        begun = time.monotonic()
        while time.monotonic() - begun < 3:
            assert p.ask()[0] == "mqtt/0" or time.monotonic() - begun < 1.5
        deaths = p.log().count("worker ended worker=mqtt/1")
        assert 5 <= deaths <= 7, p.log()  # after 0, 0.1, 0.2, 0.4, 0.8 and 1.6 s
        p.behave(1, None)
        eventually(lambda: p.status_code() == 0, "ready again")
        p.stop()


def test_worker_that_cannot_start_ends_the_start():
    with Processes(workers=2) as p:
        p.behave(1, "fatal")
        p.spawn()
        assert p.wait() == 1
        assert "a worker cannot start, giving up worker=mqtt/1" in p.log()


def test_worker_that_dies_again_and_again_while_starting_ends_the_start():
    with Processes(workers=2) as p:
        p.behave(0, "exit:7")
        p.spawn()
        assert p.wait() == 1
        assert p.log().count('worker=mqtt/0') > 5
        assert p.log().count('status="exit 7"') == 5


def test_fatal_worker_later_does_not_end_the_others():
    with Processes(workers=2).start() as p:
        p.behave(1, "fatal")
        os.kill(p.pid_of(1), signal.SIGKILL)
        eventually(lambda: "its configuration or environment is at fault" in p.log(), "the report")
        assert p.run("status")[0] == 3
        eventually(lambda: p.ask()[2] == 2, "adopted")
        assert p.answering() == {"mqtt/0"}
        p.stop()


def test_worker_without_control_channel_is_killed():
    with Processes(workers=1).start() as p:
        p.behave(0, "deaf")
        old = p.pid_of(0)
        os.kill(old, signal.SIGKILL)
        deaf = p.replaced(0, old)
        eventually(lambda: f"worker ready worker=mqtt/0 pid={deaf}" in p.log(), "ready")
        p.behave(0, None)
        p.replaced(0, deaf)
        assert "a worker lost its control channel, killing it" in p.log()


def test_slot_without_worker_is_accepted_for():
    with Processes(workers=2).start() as p:
        p.behave(1, "slow:2500")
        os.kill(p.pid_of(1), signal.SIGKILL)
        begun = time.monotonic()
        # A connection to the dead slot's socket waits in its queue until the other worker has it.
        assert [p.ask()[0] for _ in range(40)] == ["mqtt/0"] * 40
        took = time.monotonic() - begun
        print(f"40 connections took {took * 1000:.0f} ms, half of them to the dead slot")
        assert took < 1.5
        assert p.ask()[2] == 2
        eventually(lambda: p.status_code() == 0, "ready again")
        eventually(lambda: p.answering() == {"mqtt/0", "mqtt/1"}, "each accepts for itself")
        assert {p.ask()[2] for _ in range(20)} == {1}


def test_one_socket_for_all_without_reuse_port():
    with Processes(workers=2) as p:
        p.configure({"workers": {"mqtt": {"listen": p.url, "count": 2, "reuse_port": False}}})
        p.start()
        os.kill(p.pid_of(0), signal.SIGKILL)
        assert {p.ask()[0] for _ in range(20)} <= {"mqtt/0", "mqtt/1"}
        p.stop()


# -------------------------------------------------------------------- what a worker is born with


def test_worker_inherits_what_it_needs_and_no_more():
    with Processes(workers=3).start() as p:
        for slot in range(3):
            links = [os.readlink(fd) for fd in Path(f"/proc/{p.pid_of(slot)}/fd").iterdir()]
            assert sum(link.startswith("socket:") for link in links) == 2, links  # its listener and the control channel
            files = [link for link in links if not re.match(r"socket:|pipe:|anon_inode:|/dev/null|/memfd:", link)]
            allowed = {str(p.path(name)) for name in ("data/lock", "stdout", "stderr")}
            assert set(files) <= allowed, files
            assert [link for link in links if "memfd" in link] == ["/memfd:mqtt-master-metrics (deleted)"]


def test_worker_may_open_as_many_files_as_the_hard_limit_allows():
    with Processes(workers=1) as p:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        try:
            p.start()
            limits = Path(f"/proc/{p.pid_of(0)}/limits").read_text()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert re.search(r"Max open files +(\d+) +(\d+)", limits).groups() == (str(hard), str(hard))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change the user")
def test_workers_run_as_the_configured_user():
    with Processes(workers=1, user="nobody", stall_timeout=1) as p:
        p.directory.chmod(0o755)
        p.start()
        pid = p.pid_of(0)
        status = Path(f"/proc/{pid}/status").read_text()
        assert re.search(r"Uid:\s+65534\s+65534\s+65534\s+65534", status)
        assert re.search(r"Groups:\s+65534 *\n", status)
        assert p.path("data").stat().st_uid == 65534
        os.kill(p.process.pid, signal.SIGKILL)
        p.wait()
        eventually(lambda: not alive(pid), "the worker dies with its master", 1)


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
  workers.mqtt.count: found 0, expected a whole number from 1 to 1024, or "cpu", "cpu*1", "cpu*2", ...
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
    code, stderr = run_with(run_dir="/proc/nowhere/run")
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


def test_daemon_opens_its_log_again_at_hup():
    with Processes(daemonize=True) as p:
        assert p.run("-q")[0] == 0
        p.path("run/mqtt-master.log").rename(p.path("run/old.log"))
        os.kill(p.daemon()[0], signal.SIGHUP)
        eventually(lambda: "log file opened again" in p.log(), "the new log")
        assert p.run("stop")[0] == 0
        assert "all workers are ready" in p.text("run/old.log")
