"""Processes: what happens when a worker or the master stops, hangs or dies, and when a client moves between workers."""
import concurrent.futures
import contextlib
import os
import random
import select
import signal
import subprocess
import threading

import pytest

from mm import packets
from mm.broker import MOSQUITTO, Broker, alive, binary, children, eventually
from mm.client import Client
from mm.fixtures import Marker, each_current_version, seeds
from mm.packets import V5, V311, Reason, Type

EXPIRY = {"session_expiry_interval": 600}
PATIENT = {"stall_timeout": 600}

needs_workers = pytest.mark.skipif(MOSQUITTO, reason="Mosquitto has one process")


@pytest.fixture(scope="module")
def broker():
    """Four workers, for the tests that leave them all alive."""
    with Broker(workers=4) as running:
        yield running


@pytest.fixture
def fragile():
    """fragile(workers=…, **config) -> a broker for one test, which may kill what it likes of it."""
    with contextlib.ExitStack() as stack:
        yield lambda workers=4, **config: stack.enter_context(Broker(workers, config))


# ---------------------------------------------------------------- a worker that hangs or dies


@needs_workers
def test_a_stopped_worker_does_not_stall_the_others(fragile, connect):
    """Clients of the others go on at every QoS; when it goes on, its own client gets all it missed."""
    broker = fragile(**PATIENT)
    victim = connect(at=broker, worker=3)
    victim.subscribe("for/the/victim", qos=1)
    sub, pub = connect(at=broker, worker=0), connect(at=broker, worker=1)
    sub.subscribe("for/others", qos=2)
    pid = broker.pid_of(3)
    os.kill(pid, signal.SIGSTOP)
    try:
        identifiers = [pub.send_publish("for/the/victim", str(number).encode(), qos=1) for number in range(10)]
        for number in range(100):
            pub.publish("for/others", str(number).encode(), qos=number % 3)
            sub.receive(payload=str(number).encode(), qos=number % 3)
    finally:
        os.kill(pid, signal.SIGCONT)
    for packet_id in identifiers:
        pub.wait_for(Type.PUBACK, packet_id=packet_id)
    assert [int(message.payload) for message in victim.receive_many(10)] == list(range(10))


@needs_workers
def test_a_stuck_worker_is_replaced(fragile, connect):
    broker = fragile(workers=2, stall_timeout=1)
    stuck = broker.pid_of(1)
    client = connect(at=broker, worker=1)
    os.kill(stuck, signal.SIGSTOP)
    client.expect_closed()
    eventually(lambda: broker.pid_of(1) != stuck, "a new process in the slot of the stuck one")
    connect(at=broker, worker=1).expect_nothing()


@needs_workers
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_killed_worker_is_replaced(fragile, connect, workers):
    """Its clients see the close and can come back; a route to and from the new worker works."""
    broker = fragile(workers=workers)
    dead = broker.pid_of(0)
    client = connect(at=broker, worker=0)
    others = [connect(at=broker, worker=worker) for worker in range(1, workers)]
    for other in others:
        other.subscribe("t", qos=1)
    os.kill(dead, signal.SIGKILL)
    client.expect_closed()
    for other in others:
        other.publish("t", b"meanwhile", qos=1)
        for sub in others:
            sub.receive(payload=b"meanwhile")
    back = connect(at=broker, worker=0)
    assert broker.pid_of(0) != dead
    back.subscribe("t", qos=1)
    for client in [back, *others]:
        client.publish("t", b"again", qos=1)
        for sub in [back, *others]:
            sub.receive(payload=b"again")


@needs_workers
def test_a_worker_that_dies_again_and_again_is_replaced_again_and_again(fragile, connect):
    broker = fragile(workers=2)
    for _ in range(4):
        dead = broker.pid_of(1)
        os.kill(dead, signal.SIGKILL)
        eventually(lambda: broker.pid_of(1) != dead, "another process in the slot", timeout=20)
        connect(at=broker, worker=1).disconnect()
    connect(at=broker, worker=0).expect_nothing()


@needs_workers
def test_will_of_a_client_whose_name_another_worker_takes_over(connect, unique):
    """The session of a live client moves with its will: the old will fires, the new one does not."""
    sub, pub = connect(worker=3), connect(worker=0)
    sub.subscribe(f"{unique}/#")
    connect(unique, worker=1, will=packets.Will(f"{unique}/old", b"old"))
    new = connect(unique, worker=2, will=packets.Will(f"{unique}/new", b"new"))
    sub.receive(topic=f"{unique}/old")
    new.disconnect()
    Marker(pub, sub).expect_nothing()


# ---------------------------------------------------------------- the master


@needs_workers
def test_no_worker_outlives_a_killed_master(connect):
    with contextlib.ExitStack() as stack:
        broker = Broker(workers=4).start()
        stack.callback(broker.remove)
        stack.callback(broker.kill)
        client = connect(at=broker, worker=2)
        family = list(children(broker.process.pid))
        assert len(family) >= 4
        broker.process.kill()
        broker.process.wait()
        eventually(lambda: not any(map(alive, family)), "all workers are gone")
        client.expect_closed()


@needs_workers
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT], ids=lambda stop: stop.name)
def test_a_stop_closes_clients_and_ends_with_0(connect, stop):
    """MQTT 5 clients are told why. Broker.stop() has the rest: every process is gone, no sanitizer spoke."""
    with contextlib.ExitStack() as stack:
        broker = Broker(workers=2).start()
        stack.callback(broker.remove)
        stack.callback(broker.kill)
        clients = [connect(at=broker, worker=worker, version=version) for worker in (0, 1) for version in (V311, V5)]
        family = list(children(broker.process.pid))
        broker.process.send_signal(stop)
        for client in clients:
            client.expect_closed(Reason.SERVER_SHUTTING_DOWN)
        assert broker.process.wait(15) == 0
        eventually(lambda: not any(map(alive, family)), "all workers are gone")
        broker.check_sanitizers()


@needs_workers
@pytest.mark.parametrize("shared", ["data directory", "port"])
def test_a_second_instance_is_refused(connect, broker, shared, unique, tmp_path):
    """With an error exit and a word on standard error; the first goes on."""
    second = Broker(workers=1, directory=tmp_path)
    second.config["log_file"] = ""
    if shared == "data directory":
        second.config["data_dir"] = str(broker.directory / "data")
    else:
        second.config["workers"]["w0"]["listen"] = f"mqtt://127.0.0.1:{broker.port(0)}"
    second.spawn()
    try:
        assert second.process.wait(10) != 0
        assert second.stderr_file.read_text().strip()
    finally:
        second.kill()
    sub, pub = connect(worker=0), connect(worker=1)
    sub.subscribe(unique)
    pub.publish(unique, b"x")
    sub.receive(payload=b"x")


@needs_workers
def test_check_and_status(broker):
    """`check` takes the configuration that runs, `status` shows its four workers."""
    for command in ("check", "status"):
        done = subprocess.run([binary(), command, "-c", str(broker.config_file)], capture_output=True, text=True,
                              timeout=20)
        assert done.returncode == 0, done.stdout + done.stderr
    for worker in range(4):
        assert str(broker.pid_of(worker)) in done.stdout


@needs_workers
def test_processes_bear_their_names(broker):
    titles = list(children(broker.process.pid).values())
    assert all(f"mqtt-master: worker w{worker}/0" in titles for worker in range(4)), titles


# ---------------------------------------------------------------- C7: one live connection


@each_current_version
@pytest.mark.parametrize("seed", range(5))
def test_racing_connects_leave_exactly_one(connect, broker, version, seed, unique):
    """Twelve CONNECTs with one client identifier at once, on all workers; the live one works, the others are closed."""
    order = random.Random(seed).sample(range(12), 12)
    racers = [Client(broker.port(number % 4), version) for number in order]
    try:
        hello = packets.connect(unique, version, clean=False, properties=EXPIRY)
        for racer in racers:
            racer.send(hello)
        survivor = the_last_one_open(racers)
        survivor.expect(Type.CONNACK, reason=0)
        survivor.fence()
        survivor.subscribe(unique, qos=1)
        connect(worker=seed).publish(unique, b"x", qos=1)
        survivor.receive(payload=b"x")
    finally:
        for racer in racers:
            racer.close()


def the_last_one_open(racers):
    """Wait until all but one are closed."""
    left = {racer.socket: racer for racer in racers}
    while len(left) > 1:
        readable, _, _ = select.select(list(left), [], [], 10)
        assert readable, f"{len(left)} of them are still connected"
        for socket in readable:
            if not left[socket].absorb():
                check_goodbye(left.pop(socket))
    assert left, "none of them is left"
    return left.popitem()[1]


def check_goodbye(racer):
    """An MQTT 5 client that lost has CONNACK with reason 0 and DISCONNECT with reason 0x8E, or nothing at all."""
    seen = racer.expect_closed()
    if racer.version == V5 and not MOSQUITTO:
        assert [packet.type for packet in seen] == [Type.CONNACK, Type.DISCONNECT], seen
        assert [packet.reason for packet in seen] == [0, Reason.SESSION_TAKEN_OVER]


def test_connects_that_follow_each_other_at_once(connect, broker, unique):
    """Fifty takeovers round the workers; each new one is the only one."""
    old = connect(unique, clean=False, properties=EXPIRY)
    for number in range(50):
        new = connect(unique, worker=number + 1, clean=False, properties=EXPIRY)
        assert new.connack.session_present
        old.expect_closed(Reason.SESSION_TAKEN_OVER)
        old = new
    old.expect_nothing()


@needs_workers
def test_a_takeover_waits_for_a_holder_that_is_stopped(fragile, connect):
    """Then the old connection is closed and the session is there with everything."""
    broker = fragile(**PATIENT)
    pub = connect(at=broker, worker=0)
    old = connect("moving", at=broker, worker=3, properties=EXPIRY)
    old.subscribe("t", qos=1)
    pub.publish("t", b"1", qos=1)
    old.expect(Type.PUBLISH, payload=b"1")
    other = connect(at=broker, worker=0)  # before: the home of its client id may be the worker that is stopped
    pid = broker.pid_of(3)
    os.kill(pid, signal.SIGSTOP)
    try:
        new = Client(broker.port(1))
        new.send(packets.connect("moving", clean=False, properties=EXPIRY))
        pub.send_publish("t", b"2", qos=1, packet_id=2)
        other.fence()
    finally:
        os.kill(pid, signal.SIGCONT)
    new.expect(Type.CONNACK, reason=0, session_present=True)
    new.receive(payload=b"1", dup=True)
    new.receive(payload=b"2")
    old.expect_closed(Reason.SESSION_TAKEN_OVER)
    pub.wait_for(Type.PUBACK, packet_id=2)
    new.close()


@needs_workers
@pytest.mark.parametrize("signals", [(signal.SIGKILL,), (signal.SIGSTOP, signal.SIGKILL)], ids=["killed", "stopped"])
def test_a_takeover_from_a_worker_that_dies(fragile, connect, signals):
    """Whatever was asked of the dead worker, the CONNECT is answered and the client works."""
    broker = fragile(**PATIENT)
    names = [f"c{number}" for number in range(12)]
    for name in names:
        connect(name, at=broker, worker=3, properties=EXPIRY)
    pid = broker.pid_of(3)
    os.kill(pid, signals[0])
    movers = [Client(broker.port(number % 3)) for number in range(len(names))]
    for name, mover in zip(names, movers):
        mover.send(packets.connect(name, clean=False, properties=EXPIRY))
    if len(signals) > 1:
        os.kill(pid, signals[1])
    for mover in movers:
        mover.expect(Type.CONNACK, reason=0)
        mover.subscribe("t", qos=1)
    movers[0].publish("t", b"x", qos=1)
    for mover in movers:
        mover.receive(payload=b"x")
        mover.close()


@needs_workers
@pytest.mark.parametrize("seed", range(3))
def test_racing_connects_while_workers_stop_and_go(fragile, connect, seed):
    broker = fragile(**PATIENT)
    rng = random.Random(seed)
    pids = [broker.pid_of(worker) for worker in range(4)]
    for race in range(5):
        racers = [Client(broker.port(number), V5) for number in rng.sample(range(12), 12)]
        stopped = rng.sample(pids, 2)
        for racer in racers[:6]:
            racer.send(packets.connect(f"race{race}", clean=False, properties=EXPIRY))
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        for racer in racers[6:]:
            racer.send(packets.connect(f"race{race}", clean=False, properties=EXPIRY))
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        survivor = the_last_one_open(racers)
        survivor.expect(Type.CONNACK, reason=0)
        survivor.fence()
        for racer in racers:
            racer.close()


# ---------------------------------------------------------------- the session moves


def test_everything_of_a_session_moves(connect, unique):
    """Subscriptions with their options, what is queued, what is in flight in each state, and QoS 2 ids that came in."""
    pub, sub = connect(worker=3), connect(unique, properties=EXPIRY | {"receive_maximum": 3})
    watcher = connect(worker=2)
    watcher.subscribe(f"{unique}/from")
    sub.subscribe(f"{unique}/to", qos=2, identifier=77)
    sub.subscribe(f"$share/g/{unique}/shared", qos=1)
    sub.send_publish(f"{unique}/from", b"once", qos=2, packet_id=900)
    sub.wait_for(Type.PUBREC, packet_id=900)
    for number in range(6):
        pub.publish(f"{unique}/to", str(number).encode(), qos=1 + number % 2)
    first = [sub.expect(Type.PUBLISH) for _ in range(3)]
    sub.pubrec(first[1].packet_id)
    sub.expect(Type.PUBREL, packet_id=first[1].packet_id)

    for worker in (1, 2, 3, 0):
        sub = connect(unique, worker=worker, clean=False, properties=EXPIRY | {"receive_maximum": 3})
        assert sub.connack.session_present
        again = [sub.next() for _ in range(3)]
        assert [(packet.type, packet.packet_id) for packet in again if packet.type == Type.PUBREL] == \
            [(Type.PUBREL, first[1].packet_id)]
        assert [(packet.payload, packet.packet_id, packet.dup) for packet in again if packet.type == Type.PUBLISH] == \
            [(b"0", first[0].packet_id, True), (b"2", first[2].packet_id, True)]
        sub.send_publish(f"{unique}/from", b"once", qos=2, packet_id=900, dup=True)
        sub.expect(Type.PUBREC, packet_id=900)

    sub.pubrel(900)
    sub.expect(Type.PUBCOMP, packet_id=900)
    watcher.receive(payload=b"once")
    Marker(pub, watcher).expect_nothing()
    sub.pubcomp(first[1].packet_id)
    sub.puback(first[0].packet_id)
    sub.puback(first[2].packet_id)
    rest = [sub.receive() for _ in range(3)]
    assert [message.payload for message in rest] == [b"3", b"4", b"5"]
    assert all(message.properties["subscription_identifier"] == [77] for message in rest)
    pub.publish(f"{unique}/shared", b"x", qos=1)
    sub.receive(topic=f"{unique}/shared")


class Receiver:
    """A client that keeps its half of a session while it changes workers, and notes every message once."""

    def __init__(self, unique, broker):
        self.name, self.broker = unique, broker
        self.messages, self.unreleased, self.acknowledged = [], set(), set()
        self.client = None

    def move_to(self, worker, clean=False):
        """Connect to another worker. The old connection is taken over; what it had not read is lost with it."""
        old = self.client
        self.client = Client(self.broker.port(worker)).connect(self.name, clean=clean, properties=EXPIRY)
        if old:
            old.close()

    def read(self, timeout=10):
        packet = self.client.next(timeout)
        if packet.type == Type.PUBREL:
            self.unreleased.discard(packet.packet_id)
            self.client.pubcomp(packet.packet_id)
        elif packet.qos == 2:
            if packet.packet_id not in self.unreleased:
                self.messages.append(packet)
                self.unreleased.add(packet.packet_id)
            self.client.pubrec(packet.packet_id)
        else:
            self.messages.append(packet)
            self.client.puback(packet.packet_id)

    def payloads(self, dup=True):
        return [int(message.payload) for message in self.messages if dup or not message.dup]


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("seed", seeds(3))
def test_takeover_is_a_cut_in_the_stream(connect, broker, qos, seed, unique):
    """Two publishers on two workers never pause while the subscriber changes its worker: nothing is lost, at QoS 2
    nothing is doubled, and each publisher's messages stay in order."""
    random_worker = random.Random(seed)
    receiver = Receiver(unique, broker)
    receiver.move_to(0)
    receiver.client.subscribe(f"{unique}/+", qos=qos)
    count = 300

    def publish(worker):
        """Ten at a time, so that there are always messages in motion."""
        with Client(broker.port(worker)).connect(f"{unique}-pub{worker}") as pub:
            for batch in range(0, count, 10):
                identifiers = [pub.send_publish(f"{unique}/{worker}", str(number).encode(), qos=qos)
                               for number in range(batch, batch + 10)]
                for packet_id in identifiers:
                    pub.wait_for(Type.PUBACK if qos == 1 else Type.PUBREC, packet_id=packet_id)
                    if qos == 2:
                        pub.pubrel(packet_id)
                        pub.wait_for(Type.PUBCOMP, packet_id=packet_id)

    publishers = [threading.Thread(target=publish, args=(worker,)) for worker in (1, 2)]
    for thread in publishers:
        thread.start()
    until_move = 10
    while any(count - 1 not in numbers_of(receiver, f"{unique}/{worker}") for worker in (1, 2)):
        receiver.read()
        until_move -= 1
        if until_move == 0:
            receiver.move_to(random_worker.randrange(4))
            until_move = random_worker.randrange(1, 40)
    for thread in publishers:
        thread.join()
    receiver.client.close()
    for worker in (1, 2):
        numbers = numbers_of(receiver, f"{unique}/{worker}")
        if qos == 1:
            numbers = list(dict.fromkeys(numbers))
        assert numbers == list(range(count)), f"from worker {worker}"


def numbers_of(receiver, topic):
    return [int(message.payload) for message in receiver.messages if message.topic == topic]


# ---------------------------------------------------------------- C5: a SUBACK means routed


def test_a_suback_means_routed(connect, broker, unique):
    """Whatever any worker accepts after the SUBACK arrives, from the first message on, while others do the same."""
    publishers = [connect(worker=worker) for worker in range(4)]
    for number in range(60):
        sub = connect(worker=number)
        sub.subscribe(f"{unique}/{number}/+")
        for worker, pub in enumerate(publishers):
            pub.publish(f"{unique}/{number}/{worker}", b"x")
        assert sorted(message.topic for message in sub.receive_many(4)) == \
            [f"{unique}/{number}/{worker}" for worker in range(4)]
        sub.disconnect()


@pytest.mark.parametrize("megabytes", [1, 15, 17, 40, 200])
def test_traffic_between_workers_goes_on_after_a_large_message(connect, megabytes, unique):
    """Whatever the message used up of what one worker may send to another comes back when it has arrived."""
    with Broker(workers=4) as fresh:
        big, sub, pub = (connect(at=fresh, worker=worker, timeout=60) for worker in (0, 0, 1))
        big.subscribe("big", qos=1)
        sub.subscribe("small", qos=2)
        with concurrent.futures.ThreadPoolExecutor() as threads:
            received = threads.submit(big.receive)
            pub.publish("big", bytes(megabytes << 20), qos=1)
            assert len(received.result().payload) == megabytes << 20
        sub.timeout = pub.timeout = 5
        for number in range(30):
            pub.publish("small", str(number).encode(), qos=number % 3)
            sub.receive(payload=str(number).encode())


def test_one_port_for_all_workers(connect):
    """A group of four workers shares one port; clients land on any of them and are one broker."""
    with Broker(workers=4, shared_port=True) as shared:
        subscribers = [connect(at=shared) for _ in range(16)]
        for sub in subscribers:
            sub.subscribe("t", qos=1)
        for number, client in enumerate(subscribers):
            client.publish("t", str(number).encode(), qos=1)
            for sub in subscribers:
                sub.acknowledge(sub.wait_for(Type.PUBLISH, payload=str(number).encode()))
