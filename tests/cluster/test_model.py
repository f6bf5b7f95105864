"""Many clients on the workers of two hosts against an oracle, see mm.model; once a round something dies: a worker, a
gateway, Redis (which keeps what it has acknowledged), a whole host, which is back at once or when it has been adopted.

Nobody waits for anything at that moment, so the oracle stays exact: whose connection has ended, if its session outlives
it, is still owed all that was due. The next thing dies when the cluster has got over the one before.
"""
import os
import signal
import time

import pytest

from mm import model
from mm.broker import alive, eventually
from mm.client import Client, Closed
from mm.cluster import ADOPTION_TIMEOUT
from mm.fixtures import seeds
from mm.redis import Redis

ROUNDS = 7
PATIENCE = 60.0  # seconds for an answer, and for a session whose host is dead


class World(model.World):
    anywhere = True

    def __init__(self, cluster, seed):
        super().__init__(None, seed)
        self.cluster, self.away, self.away_key, self.settled = cluster, None, None, True
        self.faults, self.steps = [], 0
        self.fault_at = self.random.randrange(model.STEPS)

    # ------------------------------------------------------------ where

    def place(self):
        host = self.random.choice([host for host in self.cluster if host is not self.away])
        return host, self.random.randrange(host.workers)

    def open(self, person, place, **fields):
        """A CONNECT may be refused while a session's host is dead, or cannot be asked."""
        deadline = time.monotonic() + PATIENCE
        person.connections += 1
        while True:
            client = None
            try:
                client = Client(place[0].port(place[1]), person.version, timeout=PATIENCE)
                return client.connect(person.name, **fields)
            except (AssertionError, OSError) as error:
                if client:
                    client.close()
                if time.monotonic() > deadline:
                    raise AssertionError(f"{person.name} cannot connect to {place}: {error}") from None
                time.sleep(0.1)

    def subscribe(self, person):
        self.settle()  # or what is published elsewhere may not be owed yet (C5)
        super().subscribe(person)

    # ------------------------------------------------------------ faults

    def before_step(self):
        self.steps += 1
        if self.steps % model.STEPS == self.fault_at:
            self.fault()
        elif self.away and self.adopted():
            self.come_back()

    def fault(self):
        self.come_back()
        self.settle()
        if not self.faults:
            self.faults = [self.kill_worker, self.kill_gateway, self.restart_redis, self.kill_host, self.kill_host_for_long]
            self.random.shuffle(self.faults)
        self.faults.pop()()
        self.settled = False
        self.look_who_is_there()

    def kill_worker(self):
        host, worker = self.place()
        self.note("worker", worker, "of", host, "is killed")
        pid = host.pid_of(worker)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not alive(pid), "the end of a worker")

    def kill_gateway(self):
        host, _ = self.place()
        self.note("the gateway of", host, "is killed")
        host.kill_gateway()

    def restart_redis(self):
        self.note("Redis is killed and started")
        self.cluster.redis.restart()

    def kill_host(self):
        host, _ = self.place()
        self.note(host, "is killed and started")
        host.kill_master()
        host.spawn().ready()

    def kill_host_for_long(self):
        self.cluster.copied()
        host, _ = self.place()
        self.note(host, "is killed")
        self.away_key = next(node["key"] for node in host.cluster_status()["nodes"]
                             if node["key"].startswith(f"{host}.") and not node["adopter"])
        host.kill_master()
        self.away = host

    def adopted(self):
        nodes = next(host for host in self.cluster if host is not self.away).cluster_status()["nodes"]
        return nodes and all(node["adopter"] for node in nodes if node["key"] == self.away_key)

    def come_back(self):
        if self.away:
            eventually(self.adopted, f"{self.away} is adopted", ADOPTION_TIMEOUT)
            self.note(self.away, "is started")
            self.away.spawn().ready()
            self.away, self.settled = None, False

    def settle(self):
        if not self.settled:
            for host in self.cluster:
                if host is not self.away:
                    host.all_ready() if not self.away else host.ready()
            self.cluster.settled(timeout=PATIENCE)
            self.settled = True

    def look_who_is_there(self):
        for person in self.people:
            if person.client:
                try:
                    for packet in person.client.fence():
                        person.handle(packet)
                except Closed:
                    self.note(person.name, "has lost its connection")
                    person.client.close()
                    person.client = None
                    if not person.durable:
                        person.forget()


@pytest.mark.parametrize("seed", seeds(1))
def test_random_clients_of_a_cluster_against_an_oracle(cluster, seed):
    with Redis(appendonly="yes") as redis:
        hosts = cluster(hosts=2, redis=redis, stall_timeout=60)
        with World(hosts, seed).told(seed) as world:
            world.run(ROUNDS)
            world.come_back()
            world.settle()
