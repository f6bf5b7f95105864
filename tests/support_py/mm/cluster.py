"""A cluster: hosts that are brokers of their own directories and ports, and one Redis.

    with Cluster(hosts=2, workers=2) as cluster:
        a, b = cluster
        Client(b.port(0)).connect("c")
        cluster.redis.kill()
        a.kill_gateway()

Leaving the context stops every host that still runs and asserts a clean end of each.
"""
import contextlib
import json
import os
import signal
import socket
import subprocess
import time

from mm.broker import Broker, alive, binary, children, eventually, merged
from mm.client import Client
from mm.redis import Redis

LEASE = 2.0  # seconds
# What a test waits for a lease to run out and for the grace after it, on a busy machine.
ADOPTION_TIMEOUT = 60.0
JOIN_TIMEOUT = 30.0


def ask_status(path, timeout=5.0):
    """What the master behind this control socket says of itself; None: nothing."""
    with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(str(path))
        connection.sendall(b'{"command":"status"}\n')
        return json.loads(connection.makefile("rb").readline())
    return None


DURABLE = {"clean": False, "properties": {"session_expiry_interval": 600}}


def returned(host, client_id, worker=0, timeout=ADOPTION_TIMEOUT):
    """A durable client comes back here; it may be told to come again while its session is on its way."""
    def connected():
        client = Client(host.port(worker), host=host.address)
        try:
            return client.connect(client_id, **DURABLE)
        except (AssertionError, OSError):
            client.close()
            return None
    client = eventually(connected, f"{client_id} connects to {host}", timeout)
    assert client.connack.session_present
    return client


class Host(Broker):
    def __init__(self, name, redis_url, workers=2, config=None, address="127.0.0.1", inside=(), directory=None):
        self.name, self.address, self._inside = name, address, list(inside)
        redis = {"url": redis_url, "node_id": name, "lease": LEASE}
        super().__init__(workers, merged({"redis": redis}, config), directory=directory)

    def __repr__(self):
        return self.name

    def _command(self):
        return [*self._inside, *super()._command()]

    # ------------------------------------------------------------ looking

    def status(self):
        """What `status --json` says; None while there is no answer."""
        done = subprocess.run([binary(), "status", "--json", "-c", str(self.config_file)], cwd=self.directory,
                              capture_output=True, text=True, timeout=20, check=False)
        with contextlib.suppress(ValueError):
            return json.loads(done.stdout)
        return None

    def ask(self):
        """The same from the control socket itself, without another process."""
        return ask_status(self.directory / "run/mqtt-master.sock")

    def guests(self):
        """Status of each dead host that goes on here, and answers."""
        return [status for socket in self.directory.glob("run/*/mqtt-master.sock") if (status := ask_status(socket))]

    def copied(self):
        """Whether Redis has everything that this host, and whoever goes on here, has acknowledged."""
        own = (self.ask() or {}).get("cluster", {})
        if not own.get("ready") or not own["copied"]:
            return False
        here = {f"{node['key']}@{node['adopter']}" for node in own["nodes"]
                if node["adopter"].rsplit(".", 1)[0] == self.name}
        whole = {guest["cluster"]["node_id"] for guest in self.guests()
                 if guest["cluster"]["ready"] and guest["cluster"]["copied"]}
        return here <= whole

    def cluster_status(self):
        return (self.status() or {}).get("cluster", {"state": "no answer", "ready": False, "nodes": []})

    def live_nodes(self):
        """Names of the nodes that have a lease and are at home, as this host sees it."""
        return {node["key"].rsplit(".", 1)[0] for node in self.cluster_status()["nodes"]
                if node["lease_ms"] > 0 and not node["adopter"]}

    def fan_out(self, state="up", timeout=JOIN_TIMEOUT):
        """Waits until the fan-out is in this state."""
        eventually(lambda: self.cluster_status()["state"] == state, f"{self}: fan-out {state}", timeout)
        return self

    def sees(self, *hosts, timeout=ADOPTION_TIMEOUT):
        """Waits until exactly these hosts have a lease."""
        names = {host.name for host in hosts}
        eventually(lambda: self.live_nodes() == names, f"{self} sees {sorted(names)}", timeout)
        return self

    def connect(self, client_id, worker=0, **fields):
        client = {name: fields.pop(name) for name in ("version", "timeout") if name in fields}
        return Client(self.port(worker), host=self.address, **client).connect(client_id, **fields)

    def leave_session(self, client_id, topic):
        """A client that wants `topic` at QoS 1, and has gone."""
        client = self.connect(client_id, **DURABLE)
        client.subscribe(topic, qos=1)
        client.disconnect()

    # ------------------------------------------------------------ trouble

    def gateway_pid(self):
        def found():
            return next((pid for pid, title in children(self.process.pid).items() if title.endswith(": gateway")), None)
        return eventually(found, f"{self}: a gateway")

    def replace_worker(self, worker):
        """SIGKILL; waits until there is another one that accepts clients, whatever the rest of the host does."""
        victim = self.pid_of(worker)
        os.kill(victim, signal.SIGKILL)
        pids = self.worker_pids
        eventually(lambda: pids().get((f"w{worker}", 0), victim) != victim, "another worker")
        log = self.directory / "run/mqtt-master.log"
        eventually(lambda: f"worker ready worker=w{worker}/0 pid={self.pid_of(worker)}" in log.read_text(),
                   "it accepts clients")

    def kill_gateway(self):
        """SIGKILL; waits until there is another one."""
        victim = self.gateway_pid()
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: not alive(victim), "the end of the gateway")
        assert self.gateway_pid() != victim
        return self

    def _family(self):
        return [self.process.pid, *children(self.process.pid)]

    def pause(self):
        """Stops all its processes, the master first, so that it replaces none."""
        for pid in self._family():
            os.kill(pid, signal.SIGSTOP)
        return self

    def resume(self):
        """Workers and gateway first: nobody is to be killed as stuck for the pause."""
        for pid in reversed(self._family()):
            os.kill(pid, signal.SIGCONT)
        return self

    def running(self):
        return self.process is not None and self.process.poll() is None


class Cluster:
    def __init__(self, hosts=2, workers=2, redis=None, wait=True, sections=None, **config):
        """`config`, and `sections` under any name, are sections of workers.json for every host. `wait=False`: nobody
        waits for the fan-out."""
        self.redis = redis or Redis()
        self._own_redis = redis is None
        self._wait = wait
        self._config, self._workers = config | (sections or {}), workers
        self.hosts = [self.make_host(i) for i in range(hosts)]

    def make_host(self, index, **config):
        return Host(f"host-{index}", self.redis.url, self._workers, merged(self._config, config))

    def __enter__(self):
        self._stack = contextlib.ExitStack()
        try:
            if self._own_redis:
                self._stack.enter_context(self.redis)
            for host in self.hosts:
                self._stack.push(self._leave(host))
                host.spawn()
            for host in self.hosts:
                host.ready()
            if self._wait:
                self.settled()
        except BaseException as error:
            self._stack.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(self, *failure):
        return self._stack.__exit__(*failure)

    @staticmethod
    def _leave(host):
        def leave(failure, *_):
            if host.running():
                return host.__exit__(failure, None, None)
            if failure:
                print(host.diagnosis())
            host.remove()
            return None
        return leave

    def __iter__(self):
        return iter(self.hosts)

    def __getitem__(self, index):
        return self.hosts[index]

    def add_host(self, **config):
        """One host more, started and joined."""
        host = self.make_host(len(self.hosts), **config)
        self.hosts.append(host)
        self._stack.push(self._leave(host))
        host.start().fan_out()
        return host

    def twin_of(self, host):
        """One that is configured as the same node, on a disk of its own; started."""
        twin = Host(host.name, self.redis.url, self._workers, self._config)
        self._stack.push(self._leave(twin))
        twin.spawn()
        return twin

    def settled(self, timeout=JOIN_TIMEOUT):
        """Waits until every host that runs has every one of them in its fan-out."""
        live = [host for host in self.hosts if host.running()]
        for host in live:
            host.fan_out(timeout=timeout).sees(*live, timeout=timeout)
        return self

    def copied(self, timeout=40.0):
        """Waits until Redis has all that was acknowledged; what workers show of it is up to a second old."""
        seen = []

        def steady():
            whole = all(host.copied() for host in self.hosts if host.running())
            seen[:] = [*seen, time.monotonic()] if whole else []
            return whole and seen[-1] - seen[0] > 1.2
        eventually(steady, "Redis has all that was acknowledged", timeout)
        return self

    def without(self, host):
        return [other for other in self.hosts if other is not host]


def elapsed(begun):
    return time.monotonic() - begun
