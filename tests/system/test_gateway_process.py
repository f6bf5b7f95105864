"""In a cluster the master has one process more, the gateway: it is supervised like a worker and accepts nobody."""
import json
import os
import re
import signal

from mm.broker import alive, eventually
from processes import Processes

REDIS = {"url": "redis://:secret@127.0.0.1:1/0", "node_id": "one"}
GATEWAY = "mqtt-master: gateway"


def gateway_of(p):
    return eventually(lambda: next((pid for pid, title in p.workers().items() if title == GATEWAY), None), GATEWAY)


def test_gateway_is_replaced_like_a_worker():
    with Processes(workers=2, redis=REDIS, stall_timeout=1).start() as p:
        assert sorted(p.workers().values()) == [GATEWAY, "mqtt-master: worker mqtt/0", "mqtt-master: worker mqtt/1"]
        for number in (signal.SIGKILL, signal.SIGSTOP):  # dead, and stuck
            old, workers = gateway_of(p), {p.pid_of(0), p.pid_of(1)}
            os.kill(old, number)
            eventually(lambda old=old: gateway_of(p) != old, "another gateway")
            assert not alive(old)
            assert {p.pid_of(0), p.pid_of(1)} == workers
            assert p.answering() == {"mqtt/0", "mqtt/1"}
            assert p.ask()[2] == 1  # nobody accepts for it
            eventually(lambda: p.status_code() == 0, "ready again")


def test_gateway_adopts_no_listeners():
    with Processes(workers=1, redis=REDIS).start() as p:
        p.behave(0, "mute")
        os.kill(p.pid_of(0), signal.SIGKILL)
        eventually(lambda: p.status_code() == 3, "a slot that is not ready")
        assert "a worker accepts for another" not in p.log()
        p.behave(0, None)
        os.kill(p.pid_of(0), signal.SIGKILL)
        eventually(lambda: p.ask()[0] == "mqtt/0", "an answer")


def test_gateway_stops_after_the_workers():
    with Processes(workers=2, redis=REDIS).start() as p:
        p.stop()
        ended = [line.split("worker=")[1].split()[0] for line in p.log().splitlines() if "worker ended" in line]
        assert sorted(ended[:2]) == ["mqtt/0", "mqtt/1"]
        assert ended[2:] == ["gateway"]


def test_stubborn_gateway_is_killed_in_the_end():
    with Processes(workers=1, redis=REDIS, stop_timeout=0.5) as p:
        p.behave(1, "stubborn")
        p.start()
        p.stop()
        assert "a worker does not stop, killing it worker=gateway" in p.log()


def test_gateway_that_cannot_start_ends_the_start():
    with Processes(workers=1, redis=REDIS) as p:
        p.behave(1, "fatal")
        p.spawn()
        assert p.wait() == 1
        assert "a worker cannot start, giving up worker=gateway" in p.log()


def test_password_is_never_printed():
    with Processes(workers=1, redis=REDIS) as p:
        code, out, err = p.run("check")
        assert code == 0 and "redis://:***@127.0.0.1:1/0" in out
        p.start()
        status = p.run("status")
        p.stop()
        p.configure('{"redis": {"url": "redis://:secret@:x"}}')
        wrong = p.run("check")
        assert wrong[0] == 2
        for text in (out, err, *status[1:], *wrong[1:], p.log(), p.text("stdout"), p.stderr()):
            assert "secret" not in text


def test_status_shows_the_cluster():
    with Processes(workers=1, redis=REDIS).start() as p:
        code, out, _ = p.run("status", "--json")
        cluster = json.loads(out)["cluster"]
        assert code == 0 and cluster["ready"] and cluster["node_id"] == "one" and cluster["state"] == "up"
        assert [(node["key"], node["adopter"]) for node in cluster["nodes"]] == [("one.1", ""), ("two.1", "one.1")]
        assert 0 < cluster["nodes"][0]["lease_ms"] <= 9000
        _, out, _ = p.run("status")
        assert "fan-out:up" in out and re.search(r"two\.1 +0\.0s +one\.1", out)
        p.behave(1, "mute")
        os.kill(gateway_of(p), signal.SIGKILL)
        eventually(lambda: p.status_code() == 3, "no gateway, no cluster")
        assert json.loads(p.run("status", "--json")[1])["cluster"]["nodes"] == []


def test_start_without_redis_says_so():
    for quiet in ([], ["-q"]):
        with Processes(workers=1, redis=REDIS) as p:
            p.behave(1, "no_redis")
            code, out, _ = p.run("start", "-d", *quiet)
            assert code == 0  # the broker serves its own clients (C8)
            assert "Warning: Redis cannot be reached." in out
            assert ("[redis down]" in out) != bool(quiet)
            assert p.ask()[0] == "mqtt/0"
            code, out, _ = p.run("status")
            assert code == 3 and "fan-out:redis down" in out and "[redis down]" in out
            assert "Redis cannot be reached" in p.log()
            assert p.run("stop")[0] == 0
