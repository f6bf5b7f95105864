"""The broker under test: a process tree of its own, with private directories and free ports of 127.0.0.1.

    with Broker(workers=2, config={"mqtt": {"max_inflight": 5}}) as broker:
        Client(broker.port(1)).connect("c")
        os.kill(broker.pid_of(1), signal.SIGKILL)

Every worker is a worker group of its own ("w0", "w1", …) with its own port, so that a test can say which worker a client
talks to; all groups are one broker. `shared_port=True` makes one group of N workers on one port instead.

Leaving the context stops the broker with SIGTERM and asserts a clean end: exit code 0, no process left, no sanitizer
report. Environment: MQTT_MASTER_BINARY names the binary; MM_TARGET=mosquitto runs Mosquitto instead, which checks the
tests (Mosquitto has one process: every port(i) is the same).
"""
import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from mm import packets
from mm.client import Client

ROOT = Path(__file__).resolve().parents[3]
START_TIMEOUT = 20.0
STOP_TIMEOUT = 15.0
MOSQUITTO = os.environ.get("MM_TARGET") == "mosquitto"
_probes = itertools.count()
SANITIZER_REPORTS = ("AddressSanitizer", "LeakSanitizer", "runtime error:")


def binary():
    """The broker's executable."""
    if os.environ.get("MQTT_MASTER_BINARY"):
        return os.environ["MQTT_MASTER_BINARY"]
    for preset in ("dev", "release"):
        if (path := ROOT / "build" / preset / "mqtt-master").exists():
            return str(path)
    raise RuntimeError("no mqtt-master under build/: build it, or set MQTT_MASTER_BINARY")


_reserved = []  # until this process ends


def reserve(port):
    """False: another process of tests has that port. It counts also while nobody listens there, for a broker that is
    dead and to come back."""
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0mm-test-port-{port}")
    except OSError:
        name.close()
        return False
    _reserved.append(name)
    return True


def free_ports(count):
    """Ports that nobody listens on, below the range from which the kernel picks ports for outgoing connections."""
    ports = []
    with contextlib.ExitStack() as held:
        while len(ports) < count:
            probe = held.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", random.SystemRandom().randrange(12000, 32000)))
            except OSError:
                continue
            port = probe.getsockname()[1]
            if reserve(port):
                ports.append(port)
    return ports


def merged(base, override):
    """`override` laid over `base`, dict by dict."""
    out = dict(base)
    for key, value in (override or {}).items():
        out[key] = merged(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


def eventually(condition, what, timeout=10.0):
    """Wait until `condition()` holds and return what it returned; fail after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.01)
    return value


def alive(pid):
    """Whether the process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid):
    """{pid: title} of the child processes of `pid`."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[1]
            if int(parent) == pid and alive(int(entry.name)):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    return found


class Broker:
    address = "127.0.0.1"  # where it listens

    def __init__(self, workers=1, config=None, shared_port=False, directory=None):
        self.workers = workers
        self._temporary = directory is None
        self.directory = Path(directory or tempfile.mkdtemp(prefix="mm-test-"))
        self._shared_port = shared_port
        self._ports = free_ports(1 if shared_port or MOSQUITTO else workers)
        self.config = merged(self._default_config(), config)
        self.config_file = self.directory / "workers.json"
        self.stderr_file = self.directory / "stderr"
        self.process = None

    def _default_config(self):
        groups = {f"w{i}": {"listen": f"mqtt://{self.address}:{port}", "count": 1} for i, port in enumerate(self._ports)}
        if self._shared_port:
            groups = {"mqtt": {"listen": f"mqtt://{self.address}:{self._ports[0]}", "count": self.workers}}
        return {"run_dir": "run", "data_dir": "data", "pid_file": "run/mqtt-master.pid",
                "log_file": "run/mqtt-master.log", "log_level": "debug", "workers": groups}

    def __enter__(self):
        try:
            return self.start()
        except Exception:  # which says all that is worth knowing
            self.kill()
            self.remove()
            raise

    def __exit__(self, failure, *_):
        if failure:
            self.kill()
            print(self.diagnosis())
        else:
            self.stop()
        self.remove()

    # ------------------------------------------------------------ life

    def spawn(self):
        """Start the process without waiting for it."""
        self.directory.joinpath("run").mkdir(exist_ok=True)
        self.directory.joinpath("data").mkdir(exist_ok=True)
        environment = dict(os.environ)
        for sanitizer, ours in {"ASAN_OPTIONS": "quarantine_size_mb=4", "UBSAN_OPTIONS": "print_stacktrace=1"}.items():
            options = [environment.get(sanitizer), ours, f"log_path={self.directory}/sanitizer"]
            environment[sanitizer] = ":".join(filter(None, options))
        with open(self.stderr_file, "ab") as stderr:
            self.process = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr,
                                            cwd=self.directory, env=environment)
        return self

    def _command(self):
        if MOSQUITTO:
            file = self.directory / "mosquitto.conf"
            file.write_text(self._mosquitto_config())
            return ["/usr/sbin/mosquitto", "-c", str(file)]
        self.config_file.write_text(json.dumps(self.config, indent=2))
        return [binary(), "-c", str(self.config_file)]

    def start(self):
        self.spawn()
        return self.ready()

    def ready(self):
        """Wait until there is an answer on every port."""
        deadline = time.monotonic() + START_TIMEOUT
        rounds = 4 * self.workers if self._shared_port else 1
        for port in self._ports * rounds:
            while not self._answers(port):
                if self.process.poll() is not None:
                    raise RuntimeError(f"the broker ended with {self.process.returncode}\n{self.diagnosis()}")
                if time.monotonic() > deadline:
                    self.kill()
                    raise RuntimeError(f"no CONNACK on port {port} within {START_TIMEOUT} s\n{self.diagnosis()}")
                time.sleep(0.01)
        return self

    def _answers(self, port):
        try:
            with Client(port, timeout=5.0, host=self.address) as probe:
                # In a cluster the last one's end may be remembered by a host that cannot be asked.
                probe.connect(f"mm-probe-{next(_probes)}")
                probe.send(packets.disconnect())
                return True
        except (OSError, AssertionError):
            return False

    def stop(self, timeout=STOP_TIMEOUT):
        """SIGTERM, and everything that a clean end means."""
        family = [*children(self.process.pid), self.process.pid]
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running {timeout} s after SIGTERM\n{self.diagnosis()}") from None
        assert code == 0, f"exit code {code}\n{self.diagnosis()}"
        eventually(lambda: not any(map(alive, family)), f"processes left of {family}", 5)
        self.check_sanitizers()

    def check_sanitizers(self):
        reports = [self.stderr_file, *self.directory.glob("sanitizer*")]
        bad = [path for path in reports if path.exists()
               and any(text in path.read_text(errors="replace") for text in SANITIZER_REPORTS)]
        assert not bad, f"sanitizer report in {bad}\n{self.diagnosis()}"

    def kill(self):
        """Kill whatever is left."""
        if self.process is not None and self.process.poll() is None:
            family = [self.process.pid, *children(self.process.pid)]
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()

    def kill_workers(self, *workers):
        """SIGKILL for these workers, or all of them at once; wait until every slot is ready again."""
        victims = [self.pid_of(worker) for worker in workers or range(self.workers)]
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not any(map(alive, victims)), "the end of workers")
        self.all_ready()

    def kill_master(self):
        """SIGKILL for the master; wait until its workers are gone as well. start() begins anew."""
        family = children(self.process.pid)
        self.process.kill()
        self.process.wait()
        eventually(lambda: not any(map(alive, family)), "the end of the workers of a dead master")

    def all_ready(self):
        """Wait until every slot has a worker that is ready; an answer on its port may come from another."""
        def ready():
            return subprocess.run([binary(), "status", "-c", str(self.config_file)], cwd=self.directory, timeout=20,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0
        eventually(ready, "all workers ready", START_TIMEOUT)
        return self.ready()

    def remove(self):
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    def diagnosis(self):
        """The ends of what the broker wrote."""
        files = [self.stderr_file, self.directory / "run/mqtt-master.log", *self.directory.glob("sanitizer*")]
        return "\n".join(f"--- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-40:])
                         for path in files if path.exists())

    # ------------------------------------------------------------ workers

    def port(self, worker=0):
        """The port of a worker; numbers beyond the last worker begin again at the first."""
        return self._ports[worker % len(self._ports)]

    def worker_pids(self):
        """{(group, slot): pid} of the workers that run."""
        found = {}
        for pid, title in children(self.process.pid).items():
            if "worker " in title:
                group, slot = title.split("worker ", 1)[1].split()[0].rsplit("/", 1)
                found[group, int(slot)] = pid
        return found

    def pid_of(self, worker=0):
        slot = ("mqtt", worker) if self._shared_port else (f"w{worker % self.workers}", 0)
        return eventually(lambda: self.worker_pids().get(slot), f"a process for worker {slot}")

    def memory_of(self, worker=0):
        """Resident bytes of a worker."""
        pid = self.process.pid if MOSQUITTO else self.pid_of(worker)
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"process {pid} shows no memory")

    # ------------------------------------------------------------ Mosquitto in its place

    def _mosquitto_config(self):
        mqtt = self.config.get("mqtt", {})
        lines = [f"listener {self._ports[0]} 127.0.0.1", "allow_anonymous true", "persistence false", "user root",
                 f"max_inflight_messages {mqtt.get('max_inflight', 20)}", f"sys_interval {mqtt.get('sys_interval', 10)}",
                 f"retain_available {str(mqtt.get('retain_available', True)).lower()}",
                 f"allow_zero_length_clientid {str(mqtt.get('allow_zero_length_client_id', True)).lower()}"]
        for ours, theirs in {"max_packet_size": "max_packet_size", "max_keepalive": "max_keepalive"}.items():
            if ours in mqtt:
                lines.append(f"{theirs} {mqtt[ours]}")
        return "\n".join(lines[1:] + lines[:1]) + "\n"
