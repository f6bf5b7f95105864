"""The process model under test: a master whose workers are tests/system/fake_worker. They answer each connection with
"GROUP/SLOT PID NUMBER-OF-SLOTS-ACCEPTED-FOR", so nothing here knows MQTT."""
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from mm.broker import ROOT, alive, children, eventually, free_ports, merged

BINARY = os.environ.get("MQTT_MASTER_FAKE", str(ROOT / "build/dev/tests/system/mqtt-master-fake"))


class Processes:
    """A master with fake workers in a directory of its own."""

    binary = BINARY

    def __init__(self, workers=2, **config):
        self.directory = Path(tempfile.mkdtemp(prefix="mm-proc-"))
        self.port = free_ports(1)[0]
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self.file = self.directory / "workers.json"
        self.configure(merged({"workers": {"mqtt": {"listen": self.url, "count": workers}}}, config))
        self.process = None

    def configure(self, config):
        self.file.write_text(config if isinstance(config, str) else json.dumps(config))

    def __enter__(self):
        return self

    def __exit__(self, failure, *_):
        if failure:
            print(self.log(), self.stderr())
        for pid in [*self.workers(), *([self.process.pid] if self.process else []), *self.daemon()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process:
            self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    # ---------------------------------------------------------------- life

    def behave(self, slot, behaviour):
        """What the next process in this slot does; None: nothing special."""
        self.path("run").mkdir(mode=0o755, exist_ok=True)
        file = self.path(f"run/fake.{slot}")
        file.unlink() if behaviour is None else file.write_text(behaviour)

    def spawn(self, *arguments):
        with open(self.path("stdout"), "ab") as out, open(self.path("stderr"), "ab") as err:
            self.process = subprocess.Popen([self.binary, "-c", str(self.file), *arguments], stdin=subprocess.DEVNULL,
                                            stdout=out, stderr=err, cwd=self.directory, start_new_session=True)
        return self

    def start(self, *arguments):
        self.spawn(*arguments)
        eventually(lambda: self.status_code() == 0 or self.process.poll() is not None, "all workers ready")
        assert self.process.poll() is None, self.stderr()
        return self

    def run(self, *arguments):
        """A command; (exit code, stdout, stderr)."""
        done = subprocess.run([self.binary, "-c", str(self.file), *arguments], cwd=self.directory, capture_output=True,
                              text=True, timeout=30, check=False)
        return done.returncode, done.stdout, done.stderr

    def status_code(self):
        return self.run("status")[0]

    def send(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=10):
        return self.process.wait(timeout)

    def stop(self):
        family = [*self.workers()]
        self.send(signal.SIGTERM)
        assert self.wait() == 0, self.stderr()
        assert not any(map(alive, family))

    # ---------------------------------------------------------------- looking

    def path(self, name):
        return self.directory / name

    def text(self, name):
        return self.path(name).read_text() if self.path(name).exists() else ""

    def log(self):
        return self.text("run/mqtt-master.log")

    def stderr(self):
        return self.text("stderr")

    def daemon(self):
        pid = self.text("run/mqtt-master.pid")
        return [int(pid)] if pid else []

    def workers(self):
        """{pid: title}"""
        master = self.process.pid if self.process and self.process.poll() is None else next(iter(self.daemon()), None)
        return children(master) if master else {}

    def pid_of(self, slot):
        title = f"mqtt-master: worker mqtt/{slot}"
        found = lambda: next((pid for pid, t in self.workers().items() if t == title), None)  # noqa: E731
        return eventually(found, title)

    def replaced(self, slot, old, timeout=10.0):
        """Wait for another process in the slot; its pid."""
        return eventually(lambda: (pid := self.pid_of(slot)) != old and pid, f"a new worker {slot}", timeout)

    def ask(self, timeout=5.0):
        """One connection: (worker, pid, slots it accepts for)."""
        with socket.create_connection(("127.0.0.1", self.port), timeout) as connection:
            worker, pid, slots = connection.makefile().read().split()
            return worker, int(pid), int(slots)

    def answering(self, rounds=40):
        return {self.ask()[0] for _ in range(rounds)}
