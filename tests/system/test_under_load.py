"""What holds between workers holds when the bus between them is full, and when one of them dies in the middle of it.

The load is a closed loop: a publisher is at most WINDOW messages ahead of the slowest subscriber, so nothing may be
dropped, and a gap is a loss. It runs in a process of its own, so that the test finds a free processor when it waits."""
import contextlib
import itertools
import multiprocessing
import os
import selectors
import signal
import struct

import pytest

from mm import packets
from mm.broker import MOSQUITTO, Broker, eventually
from mm.client import Client
from mm.packets import V311, Type

pytestmark = pytest.mark.skipif(MOSQUITTO, reason="Mosquitto has one process")

WINDOW, BURST = 200, 50
SUBSCRIBERS = 3  # of each QoS on each worker
EXPIRY = {"session_expiry_interval": 600}
CONFIG = {"log_level": "info", "mqtt": {"max_inflight": 1000, "receive_maximum": 1000}}
PADDING = 100
# Every PUBLISH of one QoS has one size: header and length of the topic, "load/Q/", the publisher, (packet id,) number.
LAYOUT = {0: struct.Struct(f">4s7s2s0sI{PADDING}x"), 1: struct.Struct(f">4s7s2s2sI{PADDING}x")}


# ---------------------------------------------------------------- the load


class LoadPublisher:
    def __init__(self, broker, worker, qos, number):
        self.worker, self.qos, self.name = worker, qos, b"%02d" % number
        self.client = Client(broker.port(worker), V311, timeout=30).connect(f"load-pub-{qos}-{number}")
        self.sent = self.acknowledged = 0

    def burst(self):
        topic = f"load/{self.qos}/{self.name.decode()}"
        batch = []
        for _ in range(BURST):
            self.sent += 1
            packet_id = self.sent % 65535 + 1 if self.qos else None
            payload = struct.pack(">I", self.sent) + bytes(PADDING)
            batch.append(packets.publish(topic, payload, self.qos, packet_id, version=V311))
        self.client.send(b"".join(batch))

    def on_bytes(self, data):
        """PUBACKs: four bytes each."""
        self.acknowledged += len(data) / 4


class LoadSubscriber:
    def __init__(self, broker, worker, qos, number):
        self.worker, self.qos = worker, qos
        self.client = Client(broker.port(worker), V311, timeout=30).connect(f"load-sub-{qos}-{number}")
        self.client.subscribe(f"load/{qos}/#", qos=qos)
        self.last, self.rest, self.gaps = {}, b"", []

    def on_bytes(self, data):
        layout, last = LAYOUT[self.qos], self.last
        data = self.rest + data
        whole = len(data) - len(data) % layout.size
        self.rest = data[whole:]
        answers = []
        for header, _, name, packet_id, number in layout.iter_unpack(data[:whole]):
            assert header[0] == 0x30 | self.qos << 1, f"a PUBLISH that begins with {header[0]:#x}"
            before = last.get(name, 0)
            assert number > before, f"worker {self.worker}: {number} of publisher {name} after {before}"
            if number != before + 1:
                self.gaps.append((name, before, number))
            last[name] = number
            answers.append(b"\x40\x02" + packet_id)
        if self.qos:
            self.client.send(b"".join(answers))


class LoadProcess:
    """The loop in the process of the load; it answers each command with the number of messages that all
    have, of the publishers that shall live."""

    def __init__(self, broker, pipe):
        self.pipe = pipe
        places = list(itertools.product(range(broker.workers), (0, 1)))
        self.subscribers = [LoadSubscriber(broker, worker, qos, number) for number, (worker, qos)
                            in enumerate(places * SUBSCRIBERS)]
        self.publishers = [LoadPublisher(broker, worker, qos, number) for number, (worker, qos) in enumerate(places)]
        self.selector = selectors.DefaultSelector()
        self.selector.register(pipe, selectors.EVENT_READ)
        for client in self.subscribers + self.publishers:
            self.selector.register(client.client.socket, selectors.EVENT_READ, client)
        self.doomed, self.stopping = None, False

    def run(self):
        while not (self.stopping and self.complete()):
            if not self.stopping:
                for publisher in self.publishers:
                    if publisher.sent + BURST - self.everywhere(publisher) <= WINDOW:
                        publisher.burst()
            ready = self.selector.select(20)
            assert ready, f"the load stands still: {self.state()}"
            for key, _ in ready:
                if key.data is None:
                    self.on_command(self.pipe.recv())
                else:
                    self.read(key.data)
        names = {publisher.name for publisher in self.publishers}
        gaps = [gap for subscriber in self.subscribers for gap in subscriber.gaps if gap[0] in names]
        assert not gaps, f"lost between two that live: {gaps[:20]}"

    def read(self, client):
        try:
            data = client.client.socket.recv(1 << 16)
            if data:
                client.on_bytes(data)
                return
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert client.worker == self.doomed, f"a client of worker {client.worker} was closed"
        self.selector.unregister(client.client.socket)
        (self.publishers if client in self.publishers else self.subscribers).remove(client)

    def on_command(self, command):
        if isinstance(command, int):
            self.doomed = command
        elif command == "stop":
            self.stopping = True
        self.pipe.send(sum(self.everywhere(publisher) for publisher in self.publishers
                           if publisher.worker != self.doomed))

    def everywhere(self, publisher):
        """Up to which number of a publisher all who live have got it, and it the acknowledgement."""
        got = [subscriber.last.get(publisher.name, 0) for subscriber in self.subscribers
               if subscriber.qos == publisher.qos]
        return min(got + [publisher.acknowledged] if publisher.qos else got)

    def complete(self):
        return all(self.everywhere(publisher) == publisher.sent for publisher in self.publishers)

    def state(self):
        return [(publisher.worker, publisher.qos, publisher.sent, self.everywhere(publisher))
                for publisher in self.publishers]


def load_process(broker, pipe):
    try:
        LoadProcess(broker, pipe).run()
        pipe.send("done")
    except Exception as error:  # for the test to raise
        pipe.send(f"{type(error).__name__}: {error}")


class Load:
    """with Load(broker) as load: …; leaving it waits until everything published has arrived, without a gap."""

    def __init__(self, broker):
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=load_process, args=(broker, theirs), daemon=True)

    def __enter__(self):
        self.process.start()
        self.wait_for_progress(2000)
        return self

    def __exit__(self, failure, *_):
        try:
            if not failure:
                self.ask("stop")
                assert self.answer() == "done"
        finally:
            self.process.terminate()
            self.process.join(10)

    def answer(self):
        assert self.pipe.poll(40), "the load does not answer"
        answer = self.pipe.recv()
        assert answer == "done" or not isinstance(answer, str), answer
        return answer

    def ask(self, command):
        with contextlib.suppress(BrokenPipeError):  # then there is an answer that says why
            self.pipe.send(command)
        return self.answer()

    def wait_for_progress(self, count):
        """Until `count` messages more have arrived everywhere."""
        begin = self.ask("progress")
        eventually(lambda: self.ask("progress") >= begin + count, "progress of the load", timeout=30)


# ---------------------------------------------------------------- the tests


@pytest.mark.parametrize("workers, probes", [(2, 200), (4, 200)])
def test_a_suback_means_routed_under_load(workers, probes):
    """Contract C5: the message that is published right after the SUBACK arrives, wherever and whatever it is."""
    with Broker(workers, CONFIG) as broker, Load(broker) as load:
        publishers = [Client(broker.port(worker)).connect(f"pub{worker}") for worker in range(workers)]
        subscribers = [(Client(broker.port(worker)).connect(f"clean{worker}"),
                        Client(broker.port(worker)).connect(f"durable{worker}", properties=EXPIRY))
                       for worker in range(workers)]
        pairs = list(itertools.permutations(range(workers), 2))
        kinds = list(itertools.product((0, 1), (0, 1), ("c5/{}/x/y", "c5/{}/+/y", "c5/{}/#")))
        for number in range(probes):
            i, j = pairs[number % len(pairs)]
            durable, qos, pattern = kinds[number // len(pairs) % len(kinds)]
            sub, pub = subscribers[i][durable], publishers[j]
            topic, name = f"c5/{number}/x/y", pattern.format(number)
            publish = packets.publish(topic, b"x", qos, 1 if qos else None)
            sub.subscribe(name, qos=1)
            pub.send(publish)
            sub.receive(topic=topic, qos=qos)
            if qos:
                pub.expect(Type.PUBACK, packet_id=1, reason=0)
        for pair in subscribers:
            for sub in pair:
                sub.expect_nothing()
        load.wait_for_progress(2000)


@pytest.mark.parametrize("workers", [2, 4])
def test_a_worker_that_is_killed_under_load(workers):
    """Who is not its client notices nothing: what the others publish reaches the others without a gap, meanwhile and
    afterwards; and the new worker takes part."""
    with Broker(workers, CONFIG) as broker, Load(broker) as load:
        dead, pid = workers - 1, broker.pid_of(workers - 1)
        load.ask(dead)
        os.kill(pid, signal.SIGKILL)
        load.wait_for_progress(2000)
        eventually(lambda: broker.pid_of(dead) != pid, "a new process in the slot", timeout=20)
        sub, pub = Client(broker.port(dead), timeout=20).connect("sub"), Client(broker.port(0)).connect("pub")
        for number in range(50):
            sub.subscribe(f"back/{number}", qos=1)
            pub.publish(f"back/{number}", b"x", qos=number % 2)
            sub.receive(topic=f"back/{number}")
        load.wait_for_progress(2000)
