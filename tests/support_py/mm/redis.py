"""A Redis server of a test's own: a private directory, a free port, nothing left behind.

    with Redis(appendonly="yes") as redis:
        redis.kill()                # SIGKILL
        redis.start()               # what its files have is there again
        redis.restart(empty=True)   # nothing is
        redis.call("DBSIZE")

Commands go through its Unix socket, so they reach it in whatever network namespace it runs.
"""
import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from mm.broker import eventually, free_ports

START_TIMEOUT = 10.0


class RedisError(Exception):
    """Redis answered with an error."""


class Redis:
    def __init__(self, address="127.0.0.1", inside=(), password=None, appendonly="no", directory=None, **options):
        """`inside` is put before the command line (a network namespace). `options` are Redis's ("_" for "-")."""
        self.directory = Path(directory or tempfile.mkdtemp(prefix="mm-redis-"))
        self.address, self.port, self.password = address, free_ports(1)[0], password
        self._inside = list(inside)
        self._options = {"port": self.port, "bind": address, "unixsocket": self.directory / "socket",
                         "dir": self.directory, "save": "", "appendonly": appendonly, "appendfsync": "always",
                         "protected-mode": "no", "enable-debug-command": "yes", "daemonize": "no",
                         **{name.replace("_", "-"): value for name, value in options.items()}}
        if password:
            self._options["requirepass"] = password
        self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, failure, *_):
        if failure:
            print("--- redis\n" + "\n".join(self.log().splitlines()[-20:]))
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def url(self):
        return f"redis://{f':{self.password}@' if self.password else ''}{self.address}:{self.port}/0"

    # ------------------------------------------------------------ life

    def _words(self):
        return [word for name, value in self._options.items() for word in (f"--{name}", str(value))]

    def start(self):
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen([*self._inside, "redis-server", *self._words()], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, cwd=self.directory)
        eventually(self.answers, f"Redis answers: {self.log()}", START_TIMEOUT)
        return self

    def running(self):
        return self.process is not None and self.process.poll() is None

    def answers(self):
        assert self.running(), self.log()
        with contextlib.suppress(OSError, RedisError):
            return self.call("PING") == "PONG"
        return False

    def kill(self, number=signal.SIGKILL):
        """Ends it; SIGTERM lets it write what it has to."""
        if self.running():
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait(START_TIMEOUT)

    def stop(self):
        self.kill(signal.SIGTERM)

    def restart(self, empty=False):
        self.kill()
        if empty:
            self.forget()
        return self.start()

    def forget(self):
        """Nothing of what it wrote is there at the next start. While it does not run."""
        assert not self.running()
        for path in self.directory.iterdir():
            if path.suffix == ".rdb" or path.name.startswith("appendonly"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def remember(self):
        """A copy of all it has now, for restart_from()."""
        self.call("SAVE")
        copy = self.directory / "older"
        shutil.copyfile(self.directory / "dump.rdb", copy)
        return copy

    def restart_from(self, copy):
        """Starts anew with an older state. REQUIRES: no append-only file, which would win."""
        self.kill()
        self.forget()
        shutil.copyfile(copy, self.directory / "dump.rdb")
        return self.start()

    def pause(self):
        """It neither answers nor refuses."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def sleep(self, seconds):
        """Blocks it for a while, as a slow script or a fork would. Returns at once."""
        connection = self._connect()
        connection.sendall(encode("DEBUG", "SLEEP", str(seconds)))
        return connection

    def drop_clients(self):
        """Closes every connection but the one that asks."""
        self.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        self.call("CLIENT", "KILL", "TYPE", "pubsub")

    # ------------------------------------------------------------ looking

    def log(self):
        path = self.directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def call(self, *words):
        with self._connect() as connection:
            stream = connection.makefile("rb")
            connection.sendall(encode(*words))
            return read_reply(stream)

    def keys(self):
        return sorted(self.call("KEYS", "*"))

    def sizes(self):
        """{key: bytes in memory}"""
        return {key: self.call("MEMORY", "USAGE", key, "SAMPLES", "0") for key in self.keys()}

    def _connect(self):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(START_TIMEOUT)
        connection.connect(str(self.directory / "socket"))
        if self.password:
            connection.sendall(encode("AUTH", self.password))
            assert connection.recv(5) == b"+OK\r\n"
        return connection


def encode(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in words)


def read_reply(stream):
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionResetError("Redis closed the connection")
    kind, text = line[:1], line[1:-2].decode(errors="replace")
    if kind == b"+":
        return text
    if kind == b"-":
        raise RedisError(text)
    if kind == b":":
        return int(text)
    if kind == b"$":
        return None if text == "-1" else stream.read(int(text) + 2)[:-2].decode(errors="replace")
    assert kind == b"*", line
    return None if text == "-1" else [read_reply(stream) for _ in range(int(text))]
