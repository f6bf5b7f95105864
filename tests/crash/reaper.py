"""The broker of a run, and what kills it: single workers, two at once, one that is just starting, one that was stopped
before, and now and then the master, which takes all its workers with it."""
import asyncio
import calendar
import os
import random
import re
import signal
import time
from pathlib import Path

from record import Kill

from mm.broker import alive

READY_TIMEOUT = 40.0   # seconds until a worker is ready after it was killed, back-off included
GROWN = 2.1            # seconds after which a worker's death is none of a series, for which the master waits before a start
ORPHAN_TIMEOUT = 10.0  # seconds a worker may outlive its master
LINE = re.compile(r"^(\d{4}-\S+Z) (\w+) +(\S+) (.*)$")


def children(pid):
    """The child processes of `pid`, at once: also one that has not got its name yet."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def parse(line):
    """(wall clock seconds, part, text) of a line of the log."""
    if not (found := LINE.match(line)):
        return None
    stamp, level, part, text = found.groups()
    if text.startswith("worker ended") and level == "info":
        return None  # as it should, in a stop
    return calendar.timegm(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")) + float(stamp[19:-1]), part, text


def age_of(pid):
    """Seconds since a process was started; 0 if it is gone."""
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
    except OSError:
        return 0.0
    return float(Path("/proc/uptime").read_text().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")


class BrokerEnded(Exception):
    """The master is gone, and nobody killed it."""


def family(pid):
    """The processes below `pid`, and below them: also those of the dead hosts that go on here."""
    below = children(pid)
    return below + [grandchild for child in below for grandchild in family(child)]


class Reaper:
    """Of one host. Its workers are those from number `first` on."""

    def __init__(self, world, broker, first=0, cut=False):
        self.world, self.record = world, world.record
        self.random = random.Random(f"{world.seed} reaper" + (f" {first}" if first else ""))
        self.broker, self.workers, self.first, self.cut = broker, broker.workers, first, cut
        self.killed = set()    # pids
        self.ready = set()     # pids that were ready once
        self.events, self.log_position = [], 0

    # ------------------------------------------------------------ kills

    async def run(self, kills, seconds):
        """`kills` kills, spread over the seconds."""
        pause = seconds / max(kills, 1)
        end = self.record.now().time + seconds
        if self.cut:
            await self.cut_connections(kills, pause)
            return
        while len(self.record.kills) < kills:
            await asyncio.sleep(self.random.uniform(0.2, 1.8) * pause)
            await self.random.choices(
                [self.kill_one, self.kill_two, self.kill_starting, self.kill_stopped, self.kill_master],
                [60, 14, 12, 9, 5])[0]()
        await asyncio.sleep(max(0.0, end - self.record.now().time))

    async def cut_connections(self, times, pause):
        """As a kill looks to a client, but the broker forgets nothing: this is to be survived without a store, too."""
        for _ in range(times):
            await asyncio.sleep(self.random.uniform(0.2, 1.8) * pause)
            slot = self.random.randrange(self.workers)
            for connection in list(self.world.connections):
                if connection.attempt.worker == slot:
                    connection.abort()

    async def victims(self, least=1):
        """[((group, slot), pid)], seldom young ones: a slot in which one dies after the other is down for seconds, and
        then there is little left to kill."""
        young = self.random.random() < 0.08
        deadline = time.monotonic() + READY_TIMEOUT
        while True:
            found = [(slot, pid) for slot, pid in sorted(self.broker.worker_pids().items())
                     if young or age_of(pid) > GROWN]
            if len(found) >= min(least, self.workers):
                return found
            if time.monotonic() > deadline:
                raise BrokerEnded(f"no worker lived for {GROWN} s in {READY_TIMEOUT} s\n{self.broker.diagnosis()}")
            await asyncio.sleep(0.05)

    async def kill_one(self):
        self.kill(*self.random.choice(await self.victims()))

    async def kill_two(self):
        for victim in self.random.sample(await self.victims(2), min(2, self.workers)):
            self.kill(*victim)

    async def kill_starting(self):
        """Kill one, and then the new one in its place, some milliseconds old."""
        (group, slot), pid = self.random.choice(await self.victims())
        old = children(self.broker.process.pid)
        self.kill((group, slot), pid)
        age = self.random.choice([0, 0.002, 0.01, 0.03, 0.1, 0.3])
        deadline = time.monotonic() + 6
        while time.monotonic() < deadline:
            if new := set(children(self.broker.process.pid)) - set(old):
                await asyncio.sleep(age)
                self.kill((group, slot), min(new))
                return
            await asyncio.sleep(0.001)

    async def kill_stopped(self):
        """What a worker has not read is in its sockets when it dies."""
        slot, pid = self.random.choice(await self.victims())
        self.signal(pid, signal.SIGSTOP)
        await asyncio.sleep(self.random.uniform(0, 0.4))
        self.kill(slot, pid)

    async def kill_master(self):
        await self.die("master")
        await asyncio.sleep(self.random.choice([0, 0, 0.3, 1.0]))
        await self.rise()

    async def die(self, what):
        """The master is killed, and everything with it."""
        pid = self.broker.process.pid
        orphans = family(pid)
        self.note(what, range(self.workers), pid)
        self.broker.process.kill()
        self.killed.update(orphans)
        await asyncio.to_thread(self.broker.process.wait)
        deadline = time.monotonic() + ORPHAN_TIMEOUT
        while left := [pid for pid in orphans if alive(pid)]:
            if time.monotonic() > deadline:
                self.record.problem("process", f"workers {left} outlive their master by {ORPHAN_TIMEOUT} s")
                for pid in left:
                    self.signal(pid, signal.SIGKILL)
                break
            await asyncio.sleep(0.005)

    async def rise(self):
        began = time.monotonic()
        self.broker.spawn()
        # A worker that dies again and again before all have been ready once makes the master give up: let it start.
        await self.healed()
        self.record.worst_replacement = max(self.record.worst_replacement, time.monotonic() - began)

    def kill(self, slot, pid):
        if pid in self.killed or not alive(pid):
            return
        self.kill_process("worker", [int(slot[0][1:])], pid)

    def kill_process(self, what, slots, pid):
        self.note(what, slots, pid)
        self.killed.add(pid)
        self.signal(pid, signal.SIGKILL)

    def note(self, what, slots, pid):
        """`slots`: those of this host."""
        self.record.kills.append(Kill(self.record.now(), time.time(), what, tuple(self.first + slot for slot in slots), pid))

    @staticmethod
    def signal(pid, number):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass

    # ------------------------------------------------------------ life

    async def start(self):
        await asyncio.to_thread(self.broker.start)

    def port(self, worker):
        return self.broker.port(worker)

    async def healed(self):
        """Wait until every slot has a worker that is ready."""
        deadline = time.monotonic() + READY_TIMEOUT
        while not self.all_ready():
            if self.broker.process.poll() is not None:
                raise BrokerEnded(f"the master ended with {self.broker.process.returncode}\n{self.broker.diagnosis()}")
            if time.monotonic() > deadline:
                self.record.problem("process", f"not all workers of {self.broker.directory} are ready {READY_TIMEOUT} s "
                                    "after the last kill")
                return
            await asyncio.sleep(0.05)

    def all_ready(self):
        for _, part, text in self.new_events():
            if part == "master" and text.startswith("worker ready"):
                self.ready.add(int(re.search(r"pid=(\d+)", text).group(1)))
        now = list(self.broker.worker_pids().values())
        return len(now) == self.workers and self.ready.issuperset(now)

    async def stop(self):
        """A clean end, with everything that means; a violation if it is none."""
        try:
            await asyncio.to_thread(self.broker.stop, 30)
        except AssertionError as error:
            self.record.problem("process", f"no clean stop: {error}")
            self.broker.kill()

    def abandon(self):
        """An end, whatever comes of it."""
        self.broker.kill()

    def remove(self):
        self.broker.remove()

    # ------------------------------------------------------------ the log

    @property
    def directory(self):
        return self.broker.directory

    def logs(self):
        return [self.broker.directory / "run/mqtt-master.log"]

    def new_events(self):
        """The lines since the last call: (wall clock seconds, part, text)."""
        path = self.logs()[0]
        if not path.exists():
            return []
        with open(path, "rb") as log:
            log.seek(self.log_position)
            text = log.read()
        text = text[:text.rfind(b"\n") + 1]
        self.log_position += len(text)
        new = [event for line in text.decode(errors="replace").splitlines() if (event := parse(line))]
        self.events += new
        return new

    def read_log(self):
        """What only the broker knows: who served a connection, how long a replacement took, who died by himself."""
        ports = {}
        ready = {}
        self.new_events()
        for seconds, part, text in self.events:
            if text.startswith("client connected"):
                port = text.rsplit(":", 1)[1]
                ports.setdefault(int(port), []).append((seconds, self.first + int(part[1:].split("/")[0])))
            elif found := re.match(r"worker ready worker=w(\d+)/", text):
                ready.setdefault(self.first + int(found.group(1)), []).append(seconds)
            elif text.startswith("worker ended") and int(re.search(r"pid=(\d+)", text).group(1)) not in self.killed:
                self.record.problem("process", f"a worker ended by itself: {text}")
        wall = time.time() - self.record.now().time
        for attempt in self.record.attempts:
            if attempt.accepted and attempt.worker - self.first in range(self.workers):
                near = [(abs(seconds - wall - attempt.accepted.time), worker)
                        for seconds, worker in ports.get(attempt.local_port, ())]
                attempt.served_by = min(near)[1] if near and min(near)[0] < 5 else None
        for kill in self.record.kills:
            again = [seconds - kill.wall for slot in kill.slots[:1] for seconds in ready.get(slot, ())
                     if seconds > kill.wall - 0.001]
            if kill.what == "worker" and again:
                self.record.worst_replacement = max(self.record.worst_replacement, again[0])
