"""Workers that die, hang or cannot start, and what the master makes of it."""
import contextlib
import os
import re
import signal
import time

from mm.broker import alive, eventually
from processes import Processes


def log_time(line):
    moment = re.match(r"\S+T(\d+):(\d+):(\d+\.\d+)Z", line).groups()
    return int(moment[0]) * 3600 + int(moment[1]) * 60 + float(moment[2])


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
