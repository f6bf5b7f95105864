"""`store info|export|import|check`, another number of workers, and starts that a store refuses."""
import json
import os
import random
import signal
import subprocess

import pytest
from mm.broker import Broker, binary, eventually
from mm.client import Client
from mm.packets import V5, Type

HEADER = {"mqtt-master": "store", "format": 2}


def message(topic, payload, sequence=1):
    return {"incarnation": 1, "sequence": sequence, "qos": 1, "retain": False, "expires_at": 0, "topic": topic,
            "publisher": "p", "properties": "", "payload": payload}


def session(slot, sid, client_id, filters=("a/+",), queued=("aGk=",)):
    """A session with subscriptions and queued messages, as lines of an export."""
    head = {"slot": slot, "sid": sid}
    yield {**head, "record": "session", "client_id": client_id, "epoch": 1, "expiry_interval": 4294967295,
           "disconnected_at": 1, "next_packet_id": 1, "marks": []}
    for filter in filters:
        yield {**head, "record": "subscription", "filter": filter, "qos": 1, "no_local": False,
               "retain_as_published": False, "retain_handling": 0, "identifier": 0}
    for position, payload in enumerate(queued, 1):
        yield {**head, "record": "delivery", "position": position, "progress": "queued", "packet_id": 0, "qos": 1,
               "retain": False, "identifiers": [], "message": message("a/b", payload, position)}


class Stores:
    """A data directory, with the commands on it."""

    def __init__(self, directory, workers=2, **config):
        self.directory = directory
        self.configure(workers, **config)

    def configure(self, workers, **config):
        self.broker = Broker(workers=workers, directory=self.directory, config=config)
        self.broker.config_file.write_text(json.dumps(self.broker.config))

    def run(self, *words, stdin=""):
        done = subprocess.run([binary(), "store", *words, "-c", str(self.broker.config_file)], input=stdin,
                              capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr.replace(str(self.directory), "DIR")

    def fill(self, slots, records):
        lines = [json.dumps(line) for line in [{**HEADER, "slots": slots}, *records]]
        code, out, stderr = self.run("import", stdin="\n".join(lines) + "\n")
        assert (code, stderr) == (0, ""), stderr
        assert out == f"{len(lines) - 1} records imported\n"

    def records(self):
        code, out, stderr = self.run("export")
        assert (code, stderr) == (0, ""), stderr
        return [json.loads(line) for line in out.splitlines()[1:]]

    def restart(self):
        """The broker starts and stops once."""
        with self.broker:
            pass

    def slot(self, number):
        return self.directory / f"data/store/slot-{number}"


@pytest.fixture
def stores(tmp_path):
    return Stores(tmp_path)


def contents(records):
    """What belongs to whom, wherever it lies."""
    clients = {(r["slot"], r["sid"]): r["client_id"] for r in records if r["record"] == "session"}
    rest = [(clients[r["slot"], r["sid"]], r["record"], r.get("filter") or r["message"]["payload"])
            for r in records if r["record"] in ("subscription", "delivery")]
    return sorted(clients.values()), sorted(rest)


# -------------------------------------------------------------------- commands


def test_what_is_imported_is_exported(stores):
    records = [*session(0, 1, "a"), *session(1, 1, "b", queued=["eA==", "eQ=="]),
               {"slot": 1, "record": "retained", "topic": "a/b", "message": message("a/b", "cg==")}]
    stores.fill(2, records)
    exported = stores.records()
    assert sorted(map(json.dumps, exported)) != [] and len(exported) == len(records)
    assert contents(exported) == contents(records)
    code, out, _ = stores.run("info", "--json")
    assert code == 0
    assert [{k: row[k] for k in ("slot", "slots", "format", "sessions", "subscriptions", "queued", "retained", "outbox")}
            for row in json.loads(out)] == [
        {"slot": 0, "slots": 2, "format": 2, "sessions": 1, "subscriptions": 1, "queued": 1, "retained": 0, "outbox": 0},
        {"slot": 1, "slots": 2, "format": 2, "sessions": 1, "subscriptions": 1, "queued": 2, "retained": 1, "outbox": 0}]
    code, out, _ = stores.run("info")
    assert code == 0 and "1 of 2" in out and out.splitlines()[0].split()[:2] == ["slot", "format"]
    assert stores.run("check")[:2] == (0, "ok\n")


def test_export_to_a_file_and_back(stores, tmp_path):
    stores.fill(2, session(0, 1, "a"))
    file = tmp_path / "dump"
    assert stores.run("export", str(file))[:2] == (0, "3 records exported\n")
    assert file.stat().st_mode & 0o777 == 0o600
    (tmp_path / "other").mkdir()
    other = Stores(tmp_path / "other")
    assert other.run("import", str(file))[:2] == (0, "3 records imported\n")
    assert other.run("export")[1] == file.read_text()


def test_a_wrong_import_says_where_and_changes_nothing(stores):
    stores.fill(2, session(0, 1, "a"))
    before = stores.run("export")[1]
    wrong = [json.dumps({**HEADER, "slots": 2}), *map(json.dumps, session(0, 1, "b", filters=["a/#/b"]))]
    assert stores.run("import", stdin="\n".join(wrong)) == (
        1, "", "mqtt-master: line 3: subscription sid=1 filter=a/#/b: its filter is none\n")
    assert stores.run("import", stdin="nonsense")[0] == 1
    assert stores.run("import", "/nowhere")[2] == "mqtt-master: cannot read /nowhere: No such file or directory\n"
    assert stores.run("export")[1] == before


def test_without_stores(stores):
    assert stores.run("check") == (1, "", "mqtt-master: there is no directory DIR/data\n")
    (stores.directory / "data").mkdir()
    assert stores.run("export") == (1, "", "mqtt-master: there are no stores in DIR/data\n")
    assert stores.run("info", "--json")[:2] == (0, "[]\n")


def test_a_running_broker_keeps_its_stores_to_itself(stores):
    with stores.broker as broker:
        for action in ("info", "export", "import", "check"):
            code, out, stderr = stores.run(action)
            assert (code, out) == (1, "")
            assert stderr == f"mqtt-master: DIR/data is in use by mqtt-master with pid {broker.process.pid}\n"


def test_check_finds_what_is_wrong(stores):
    stores.fill(2, [*session(0, 1, "a"), *session(1, 1, "b")])
    stores.fill(2, [{"slot": 0, "record": "incoming", "sid": 9, "packet_id": 1, "number": 0}])
    assert stores.run("check")[:2] == (0, "ok\n")  # a rebuild leaves out what belongs to nobody
    table = next(stores.slot(1).glob("*.sst"))
    data = bytearray(table.read_bytes())
    data[20] ^= 0x55
    table.write_bytes(data)
    code, out, _ = stores.run("check")
    assert code == 1
    assert out.splitlines()[0].startswith("slot 1: the store ") and table.name in out
    assert out.splitlines()[-1] == "1 problem"


# -------------------------------------------------------------------- another number of workers


@pytest.mark.parametrize("counts", [(3, 1), (1, 4), (4, 2)])
def test_another_number_of_workers_takes_everything_along(tmp_path, counts):
    seed = int(os.environ.get("MM_SEED", random.SystemRandom().randrange(2**32)))
    print(f"MM_SEED={seed}")
    rng = random.Random(seed)
    before, after = counts
    stores = Stores(tmp_path, workers=before)
    sids = [0] * before
    records = []
    for number in range(200):
        slot = rng.randrange(before)
        sids[slot] += 1
        records += session(slot, sids[slot], f"client-{number}", filters=[f"f/{number}", "g/#"],
                           queued=[rng.choice(["eA==", "eQ=="]) for _ in range(rng.randrange(5))])
    stores.fill(before, records)
    stores.restart()
    stores.configure(after)
    stores.restart()
    assert contents(stores.records()) == contents(records)
    assert stores.run("check")[:2] == (0, "ok\n")
    assert len(json.loads(stores.run("info", "--json")[1])) == after
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == ["incarnation", "lock", "store"]


# -------------------------------------------------------------------- stores that keep a broker from starting


def test_a_damaged_store_is_said_and_ends_the_start(stores):
    stores.fill(2, [*session(0, 1, "a"), *session(1, 1, "b")])
    (stores.slot(1) / "CURRENT").unlink()
    stores.broker.spawn()
    assert stores.broker.process.wait(20) == 1
    said = stores.broker.stderr_file.read_text()
    assert f'the store {stores.slot(1)}: found no file CURRENT' in said
    assert "a worker cannot start, giving up" in said


def test_a_malformed_record_keeps_the_stores_as_they_are(stores):
    stores.fill(2, session(1, 1, "a"))
    table = next(stores.slot(1).glob("*.sst"))
    data = bytearray(table.read_bytes())
    data[20] ^= 0x55
    table.write_bytes(data)
    stores.configure(1)
    stores.broker.spawn()
    assert stores.broker.process.wait(20) == 1
    assert f"mqtt-master: cannot start: the store {stores.slot(1)}: found damage" in stores.broker.stderr_file.read_text()
    assert stores.slot(0).exists() and stores.slot(1).exists()


def test_a_killed_worker_is_replaced_on_its_store(stores):
    with stores.broker as broker:
        for _ in range(5):
            old = broker.pid_of(0)
            os.kill(old, signal.SIGKILL)
            eventually(lambda: broker.worker_pids().get(("w0", 0), old) != old, "a new worker")
        eventually(lambda: broker._answers(broker.port(0)), "it answers")
        assert "in use by another process" not in broker.diagnosis()


def test_what_a_worker_could_not_open_while_running_is_tried_again(stores):
    with stores.broker as broker:
        current = stores.slot(0) / "CURRENT"
        text = current.read_bytes()
        current.unlink()
        os.kill(broker.pid_of(0), signal.SIGKILL)
        eventually(lambda: "found no file CURRENT" in broker.diagnosis(), "the reason in the log")
        current.write_bytes(text)
        eventually(lambda: broker._answers(broker.port(0)), "it answers", 15)


# -------------------------------------------------------------------- with what a broker stores


@pytest.mark.parametrize("counts", [(3, 1), (1, 3)])
def test_what_was_acknowledged_is_there_with_another_number_of_workers(tmp_path, counts):
    """Killed altogether in the middle of it, with one client still connected and one message in flight."""
    before, after = counts
    expiry = {"session_expiry_interval": 3600}
    stores = Stores(tmp_path, workers=before)
    with stores.broker as broker:
        for i in range(12):
            client = Client(broker.port(i), V5).connect(f"c{i}", properties=expiry)
            client.subscribe(f"own/{i}", "all/#", qos=2)
            client.disconnect()
        holder = Client(broker.port(0), V5).connect("holder", properties=expiry)
        holder.subscribe("all/#", qos=2)
        publisher = Client(broker.port(before - 1), V5).connect("publisher")
        for i in range(12):
            publisher.publish(f"own/{i}", b"%d" % i, qos=1)
            publisher.publish(f"r/{i}", b"r%d" % i, qos=1, retain=True)
        publisher.publish("all/x", b"all", qos=2)
        assert holder.expect(Type.PUBLISH).payload == b"all"  # and never acknowledged
        broker.kill()
        broker.stop = lambda: None  # it has been
    assert stores.run("check")[:2] == (0, "ok\n"), stores.run("check")
    stores.configure(after)
    with stores.broker as broker:
        for i in range(12):
            client = Client(broker.port(i), V5).connect(f"c{i}", clean=False, properties=expiry)
            assert client.connack.session_present
            got = sorted(bytes(client.receive().payload) for _ in range(2))
            assert got == sorted([b"%d" % i, b"all"])
            client.expect_nothing()
            client.disconnect()
        holder = Client(broker.port(0), V5).connect("holder", clean=False, properties=expiry)
        assert holder.receive().payload == b"all"
        holder.subscribe("r/+", qos=1)
        assert {bytes(m.payload) for m in holder.receive_many(12)} == {b"r%d" % i for i in range(12)}
        holder.disconnect()
    assert stores.run("check")[:2] == (0, "ok\n"), stores.run("check")
