"""The hosts of a run on a cluster with their Redis, and what kills them: what kills a host's workers, and besides it
gateways, workers of a dead host that goes on at another one, whole hosts, for a moment or until they have been adopted,
and Redis, which keeps what it has acknowledged (appendfsync always)."""
import asyncio
import random
import shutil
import tempfile
import time
from pathlib import Path

from reaper import BrokerEnded, Reaper, family
from record import Trouble

from mm.broker import children, eventually
from mm.cluster import ADOPTION_TIMEOUT, Host, elapsed
from mm.redis import Redis

LEASE = 3.0            # seconds; a host that is started again at once is back before twice that, when it would be adopted
CALM_AFTER = 1.5 * LEASE
COPIED_TIMEOUT = 40.0  # seconds until Redis has everything once it is there and nobody is killed
COPIED_STEADY = 1.2    # seconds for which that has to be seen: what workers show is up to a second old


class ClusterReaper:
    def __init__(self, world, hosts, workers, config):
        self.world, self.record = world, world.record
        self.random = random.Random(f"{world.seed} cluster")
        self.directory = Path(tempfile.mkdtemp(prefix="mm-crash-"))
        (self.directory / "redis").mkdir()
        self.redis = Redis(appendonly="yes", directory=self.directory / "redis")
        config = {**config, "redis": {"lease": LEASE}}
        self.hosts = []
        for number in range(hosts):
            directory = self.directory / f"host-{number}"
            directory.mkdir()
            host = Host(f"host-{number}", self.redis.url, workers, config, directory=directory)
            self.hosts.append(Reaper(world, host, number * workers))
        self.workers = workers
        self.redis_answers = False
        self.away = None    # the host that is dead for longer
        self.tasks = set()  # what comes back by itself: that host, Redis

    # ------------------------------------------------------------ kills

    async def run(self, kills, seconds):
        """`kills` kills, spread over the seconds. At least one host is killed for long, and Redis once."""
        pause = seconds / max(kills, 1)
        end = self.record.now().time + seconds
        faults = {self.kill_workers: 44, self.kill_gateway: 16, self.kill_of_a_guest: 10, self.kill_host: 9,
                  self.kill_host_for_long: 9, self.kill_redis: 12}
        owed = {kills // 4: self.kill_host_for_long, kills // 2: self.kill_redis} if kills else {}
        while (done := len(self.record.kills)) < kills:
            await asyncio.sleep(self.random.uniform(0.2, 1.8) * pause)
            self.raise_failures()
            fault = self.random.choices(list(faults), list(faults.values()))[0]
            if due := [number for number in owed if number <= done]:
                fault = owed.pop(due[0])
            await fault()
        await asyncio.sleep(max(0.0, end - self.record.now().time))

    def one(self):
        """A host that is there."""
        return self.random.choice([host for host in self.hosts if host is not self.away])

    async def kill_workers(self):
        host = self.one()
        await self.random.choices([host.kill_one, host.kill_two, host.kill_starting, host.kill_stopped],
                                  [60, 12, 12, 9])[0]()

    async def kill_gateway(self):
        host = self.one()
        for pid, title in children(host.broker.process.pid).items():
            if title.endswith(": gateway"):
                host.kill_process("gateway", (), pid)

    async def kill_of_a_guest(self):
        """A process of a dead host that goes on here: its master, its gateway or a worker."""
        found = [(host, pid) for host in self.hosts if host is not self.away
                 for guest, title in children(host.broker.process.pid).items() if title.startswith("mqtt-master: guest")
                 for pid in [guest, *family(guest)]]
        if found:
            host, pid = self.random.choice(found)
            host.kill_process("guest", (), pid)
        else:
            await self.kill_workers()

    async def kill_host(self):
        """A whole host, which is back before it is adopted: it has all it had."""
        host = self.one()
        key = self.key_of(host)
        await host.die("host")
        await asyncio.sleep(self.random.choice([0, 0, 0.3, 1.0]))
        await host.rise()
        if key and self.key_of(host) not in (key, None):
            raise BrokerEnded(f"{host.broker} was adopted before it was back: this machine is too slow for the test")

    async def kill_host_for_long(self):
        """A whole host, which comes back when it has been adopted. What it has acknowledged is somewhere else only if
        Redis has it, so nobody is killed until it has (C8: without Redis an acknowledgement rests on the host)."""
        await self.all_back()
        if not await self.copied():
            return
        host = self.one()
        self.away = host
        key = self.key_of(host)
        await host.die("host for long")
        self.begin(self.back_when_adopted(host, key))

    async def back_when_adopted(self, host, key):
        deadline = time.monotonic() + ADOPTION_TIMEOUT
        while not any(self.adopted(other, key) for other in self.hosts if other is not host):
            if time.monotonic() > deadline:
                self.record.problem("stuck", f"nobody has adopted {key} after {ADOPTION_TIMEOUT} s")
                break
            await asyncio.sleep(0.1)
        await asyncio.sleep(self.random.choice([0, 1, 4]))
        await host.rise()
        self.away = None

    async def kill_redis(self):
        if not self.redis_answers:
            return
        self.redis_answers = False
        self.record.troubles.append(Trouble(self.record.now()))
        self.hosts[0].note("redis", (), self.redis.process.pid)
        await asyncio.to_thread(self.redis.kill)
        self.begin(self.redis_back(self.record.troubles[-1]))

    async def redis_back(self, trouble):
        await asyncio.sleep(self.random.choice([0, 0, 0.5, 2, 2 * LEASE]))
        await asyncio.to_thread(self.redis.start)
        self.redis_answers = True
        while not (self.redis.running() and all(self.up(host) for host in self.hosts if host is not self.away)):
            if not self.redis.running():
                return  # killed again, which is another trouble
            await asyncio.sleep(0.1)
        trouble.over = self.record.now()

    # ------------------------------------------------------------ who is where

    @staticmethod
    def cluster_of(host):
        return (host.broker.ask() or {}).get("cluster", {"ready": False, "nodes": []})

    def up(self, host):
        return self.cluster_of(host)["ready"]

    def key_of(self, host):
        """Of the node that a host is; None: nobody says."""
        keys = [node["key"] for node in self.cluster_of(host)["nodes"]
                if node["key"].rsplit(".", 1)[0] == host.broker.name and not node["adopter"]]
        return keys[0] if keys else None

    def adopted(self, host, key):
        nodes = self.cluster_of(host)["nodes"]
        return nodes and all(node["adopter"] for node in nodes if node["key"] == key)

    async def copied(self):
        """Waits until Redis has all that was acknowledged; False, and a violation, if that takes too long."""
        deadline = time.monotonic() + COPIED_TIMEOUT
        since = None
        while since is None or time.monotonic() - since < COPIED_STEADY:
            if not all([await asyncio.to_thread(host.broker.copied) for host in self.hosts]):
                since = None
            elif since is None:
                since = time.monotonic()
            if time.monotonic() > deadline:
                self.record.problem("stuck", f"Redis has not everything after {COPIED_TIMEOUT} s of calm: " +
                                    "; ".join(f"{host.broker}: {self.cluster_of(host)}" for host in self.hosts))
                return False
            await asyncio.sleep(0.05)
        return True

    # ------------------------------------------------------------ life

    def begin(self, coming_back):
        self.tasks.add(asyncio.ensure_future(coming_back))

    def raise_failures(self):
        for task in [task for task in self.tasks if task.done()]:
            self.tasks.discard(task)
            task.result()

    async def all_back(self):
        while self.tasks:
            await asyncio.wait(self.tasks)
            self.raise_failures()

    async def start(self):
        await asyncio.to_thread(self.redis.start)
        self.redis_answers = True
        for host in self.hosts:
            host.broker.spawn()
        for host in self.hosts:
            await asyncio.to_thread(host.broker.ready)
        for host in self.hosts:
            await asyncio.to_thread(host.broker.sees, *[other.broker for other in self.hosts])
            await asyncio.to_thread(host.broker.fan_out)
        # In a young cluster what a host that was killed routes again waits for calm, and what its publishers send
        # elsewhere meanwhile is there before it.
        joined = time.monotonic()
        await asyncio.to_thread(eventually, lambda: elapsed(joined) > CALM_AFTER, "calm", 2 * CALM_AFTER)

    def port(self, worker):
        return self.hosts[worker // self.workers].port(worker % self.workers)

    async def healed(self):
        """Wait until all hosts are there, with all their workers, in touch with each other, and Redis has everything."""
        await self.all_back()
        for host in self.hosts:
            await host.healed()
        await self.copied()

    async def stop(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await asyncio.gather(*[host.stop() for host in self.hosts if host.broker.running()])
        self.redis.stop()

    def abandon(self):
        for host in self.hosts:
            host.abandon()
        self.redis.kill()

    def remove(self):
        shutil.rmtree(self.directory, ignore_errors=True)

    # ------------------------------------------------------------ the logs

    def logs(self):
        return [log for host in self.hosts for log in host.logs()]

    def read_log(self):
        for host in self.hosts:
            host.read_log()
