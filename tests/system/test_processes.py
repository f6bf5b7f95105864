"""Starting and stopping, being the only one, and what a worker is born with."""
import fcntl
import os
import re
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from mm.broker import alive, eventually
from processes import Processes


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
