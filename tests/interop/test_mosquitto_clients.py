"""mosquitto_pub and mosquitto_sub, each on a worker of its own.

That a mosquitto_sub is ready shows in its first line: a retained message that was there before, on a topic that it
subscribes to in the same SUBSCRIBE packet.
"""
import contextlib
import random
import selectors
import subprocess
import time

import pytest

from mm.broker import MOSQUITTO
from mm.fixtures import each_qos

TIMEOUT = 15
# With MQTT 5 and QoS 2 mosquitto_sub 2.0.11 counts what it has completed and gives up after 20 messages, whatever broker
# it talks to.
FEW, MANY = 15, 100
each_version = pytest.mark.parametrize("version", ["mqttv31", "mqttv311", "mqttv5"])


class Tools:
    def __init__(self, broker, unique, cleanup):
        self.broker, self.unique, self._cleanup = broker, unique, cleanup
        self.ready_topic = f"{unique}-ready"
        self.pub("-t", self.ready_topic, "-m", "ready", "-r", "-q", "1")

    def _command(self, tool, worker, arguments):
        return [tool, "-p", str(self.broker.port(worker)), *map(str, arguments)]

    def pub(self, *arguments, worker=0, stdin=None):
        """Run mosquitto_pub to its end."""
        done = subprocess.run(self._command("mosquitto_pub", worker, arguments), input=stdin, capture_output=True,
                              text=True, timeout=TIMEOUT)
        assert done.returncode == 0, done.stderr

    def run_sub(self, *arguments, worker=0, binary=False):
        """Run mosquitto_sub to its end; what it printed."""
        done = subprocess.run(self._command("mosquitto_sub", worker, ["-W", TIMEOUT, *arguments]),
                              capture_output=True, text=not binary, timeout=TIMEOUT + 5)
        assert done.returncode == 0, (done.returncode, done.stderr)
        return done.stdout if binary else done.stdout.splitlines()

    def sub(self, *arguments, worker=0):
        """Start mosquitto_sub; returns once it is subscribed."""
        sub = Sub(self._command("mosquitto_sub", worker, ["-t", self.ready_topic, *arguments]))
        self._cleanup.callback(sub.kill)
        assert "ready" in sub.line()
        return sub


class Sub:
    def __init__(self, command):
        self.process = subprocess.Popen(["stdbuf", "-oL", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._bytes = b""

    def line(self):
        """The next line it prints."""
        deadline = time.monotonic() + TIMEOUT
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._bytes:
                assert selector.select(deadline - time.monotonic()), f"no line within {TIMEOUT} s"
                chunk = self.process.stdout.read1()
                assert chunk, f"mosquitto_sub ended with {self.process.wait()}: {self._bytes.decode()}"
                self._bytes += chunk
        line, self._bytes = self._bytes.split(b"\n", 1)
        return line.decode()

    def lines(self, count):
        return [self.line() for _ in range(count)]

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def tools(broker, unique):
    with contextlib.ExitStack() as cleanup:
        yield Tools(broker, unique, cleanup)


@each_version
@each_qos
def test_publish_and_subscribe(tools, version, qos, unique):
    sub = tools.sub("-V", version, "-t", unique, "-q", qos, "-F", "%t %q %r %p")
    tools.pub("-V", version, "-t", unique, "-q", qos, "-m", "hello", worker=1)
    assert sub.line() == f"{unique} {qos} 0 hello"


@each_version
@each_qos
def test_many_lines_arrive_in_order(tools, version, qos, unique):
    sub = tools.sub("-V", version, "-t", unique, "-q", qos)
    count = FEW if (version, qos) == ("mqttv5", 2) else MANY
    lines = [f"line {number}" for number in range(count)]
    tools.pub("-V", version, "-t", unique, "-q", qos, "-l", worker=1, stdin="\n".join(lines) + "\n")
    assert sub.lines(count) == lines


def test_every_version_hears_every_version(tools, unique):
    versions = ["mqttv31", "mqttv311", "mqttv5"]
    subs = [tools.sub("-V", version, "-t", unique, "-q", 2, worker=worker) for worker, version in enumerate(versions)]
    for worker, version in enumerate(versions):
        tools.pub("-V", version, "-t", unique, "-q", 2, "-m", version, worker=worker + 1)
    for sub in subs:
        assert sub.lines(3) == versions


@each_version
def test_retained(tools, version, unique):
    for topic, text in (("a/1", "old"), ("a/1", "0"), ("a/2", "two"), ("b", "other")):
        tools.pub("-V", version, "-t", f"{unique}/{topic}", "-m", text, "-r", "-q", 1, worker=1)
    tools.pub("-V", version, "-t", f"{unique}/b", "-n", "-r", "-q", 1, worker=2)
    got = tools.run_sub("-V", version, "-t", f"{unique}/#", "-q", 1, "-C", 2, "-F", "%t %r %p")
    assert sorted(got) == [f"{unique}/a/1 1 0", f"{unique}/a/2 1 two"]


@each_version
def test_will_of_a_killed_client(tools, version, unique):
    watcher = tools.sub("-V", version, "-t", f"{unique}/will", "-q", 1, "-F", "%t %p")
    dying = tools.sub("-V", version, "-t", f"{unique}/x", "--will-topic", f"{unique}/will", "--will-payload", "gone",
                      "--will-qos", 1, worker=1)
    dying.kill()
    assert watcher.line() == f"{unique}/will gone"


@each_version
@pytest.mark.parametrize("qos", [1, 2], ids=["qos1", "qos2"])
def test_session_is_resumed_on_another_worker(tools, version, qos, unique):
    session = ["-V", version, "-c", "-i", unique, "-q", qos]
    tools.run_sub(*session, "-t", unique, "-E")
    count = FEW if (version, qos) == ("mqttv5", 2) else MANY
    lines = [f"line {number}" for number in range(count)]
    tools.pub("-t", unique, "-q", qos, "-l", worker=1, stdin="\n".join(lines) + "\n")
    assert tools.run_sub(*session, "-t", f"{unique}/other", "-C", count, worker=2) == lines
    tools.run_sub("-V", version, "-i", unique, "-t", unique, "-E")  # and the session ends


def test_takeover_of_a_connected_session(tools, unique):
    session = ["-V", "mqttv5", "-c", "-i", unique, "-q", 1, "-t", unique]
    first = tools.sub(*session)
    tools.pub("-t", unique, "-q", 1, "-m", "one", worker=1)
    assert first.line() == "one"
    second = tools.sub(*session, worker=1)
    tools.pub("-t", unique, "-q", 1, "-m", "two", worker=2)
    assert second.line() == "two"


@pytest.mark.parametrize("version", ["mqttv311", "mqttv5"])
def test_shared_subscription(tools, version, unique):
    members = [tools.sub("-V", version, "-t", f"$share/g/{unique}/work", "-t", f"{unique}/end", "-q", 1, worker=worker)
               for worker in (0, 1)]
    lines = [f"line {number}" for number in range(40)]
    tools.pub("-t", f"{unique}/work", "-q", 1, "-l", worker=2, stdin="\n".join(lines) + "\n")
    # Round robin, so each has its half; then what comes next is the end.
    got = [members[0].lines(20), members[1].lines(20)]
    assert sorted(got[0] + got[1]) == sorted(lines)
    tools.pub("-t", f"{unique}/end", "-q", 1, "-m", "end", worker=2)
    assert [member.line() for member in members] == ["end", "end"]


@each_version
def test_wildcards(tools, version, unique):
    filters = {"+": f"{unique}/+/c", "#": f"{unique}/a/#", "both": f"+/{unique}/#"}
    subs = {name: tools.sub("-V", version, "-t", text, "-F", "%t") for name, text in filters.items()}
    for topic in (f"{unique}/a/c", f"{unique}/a", f"{unique}/a/b/c", f"{unique}/b/c", f"x/{unique}", f"{unique}/last/c",
                  f"{unique}/a/last", f"x/{unique}/last"):
        tools.pub("-V", version, "-t", topic, "-m", "x", worker=1)
    assert subs["+"].lines(3) == [f"{unique}/a/c", f"{unique}/b/c", f"{unique}/last/c"]
    assert subs["#"].lines(4) == [f"{unique}/a/c", f"{unique}/a", f"{unique}/a/b/c", f"{unique}/a/last"]
    assert subs["both"].lines(2) == [f"x/{unique}", f"x/{unique}/last"]


@each_version
@each_qos
def test_a_large_file(tools, version, qos, unique, tmp_path):
    file = tmp_path / "payload"
    file.write_bytes(random.Random(qos).randbytes(5_000_000))
    tools.pub("-V", version, "-t", unique, "-q", max(qos, 1), "-r", "-f", file, worker=1)
    got = tools.run_sub("-V", version, "-t", unique, "-q", qos, "-C", 1, "-N", binary=True)
    assert got == file.read_bytes()
    tools.pub("-t", unique, "-r", "-n", "-q", 1)


def test_properties(tools, unique):
    sub = tools.sub("-V", "mqttv5", "-t", f"{unique}/#", "-q", 1, "-D", "subscribe", "subscription-identifier", 7,
                    "-F", "%p|%C|%R|%D|%P|%S")
    tools.pub("-V", "mqttv5", "-t", f"{unique}/a", "-m", "hi", "-q", 1, "-D", "publish", "content-type", "text/plain",
              "-D", "publish", "response-topic", "reply/here", "-D", "publish", "correlation-data", "abc",
              "-D", "publish", "user-property", "k", "1", "-D", "publish", "user-property", "k", "2", worker=1)
    fields = sub.line().split("|")
    assert fields[:4] == ["hi", "text/plain", "reply/here", "abc"]
    assert fields[4].replace(" ", "") in ("k:1k:2", "k:1,k:2")
    assert fields[5] == "7"


def test_dollar_topics_are_not_for_wildcards(tools, unique):
    sub = tools.sub("-V", "mqttv311", "-t", f"+/{unique}", "-F", "%t")
    if not MOSQUITTO:
        tools.pub("-t", f"$other/{unique}", "-m", "x", worker=1)
    tools.pub("-t", f"seen/{unique}", "-m", "x", worker=1)
    assert sub.line() == f"seen/{unique}"


def test_request_and_response_with_mosquitto_rr(tools, broker, unique):
    """mosquitto_rr asks; a mosquitto_sub on another worker sees where the answer should go, and a mosquitto_pub sends it."""
    sub = tools.sub("-V", "mqttv5", "-t", f"{unique}/request", "-q", 1, "-F", "%R|%p")
    asking = subprocess.Popen(["mosquitto_rr", "-p", str(broker.port(1)), "-t", f"{unique}/request", "-e",
                               f"{unique}/reply", "-m", "2+2", "-q", "1", "-W", str(TIMEOUT)],
                              stdout=subprocess.PIPE, text=True)
    with asking:
        assert sub.line() == f"{unique}/reply|2+2"
        tools.pub("-V", "mqttv5", "-t", f"{unique}/reply", "-m", "4", "-q", 1, worker=2)
        assert asking.communicate(timeout=TIMEOUT)[0] == "4\n"
