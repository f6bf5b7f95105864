"""Real client libraries, each in a process of its own that does what lines on its input say.

A line is words separated by tabs: a client's name, a command or an event, and key=value fields.

    to the agent                                       from the agent
    a connect port= id= clean= expiry= will_topic=…     a ok session_present=1   or   a error text=…
    a subscribe filter= qos= identifier=                a ok
    a publish topic= qos= retain= payload= …            a ok, once acknowledged
    a burst topic= qos= count=                          a ok, once all "0", "1", … are acknowledged
    a unsubscribe filter=      a disconnect             a ok
    a close                                             nothing more of this client
                                                        a message topic= qos= retain= dup= payload= …
                                                        a closed code=142, when the connection is lost or ended

Payloads are in hexadecimal, large ones "@/a/file". Properties: content_type, response_topic, correlation_data
(hexadecimal), expiry, alias, id (a subscription identifier) and user=name:value, any number of these.
"""
import contextlib
import dataclasses
import itertools
import os
import queue
import subprocess
import tempfile
import threading
from pathlib import Path

TIMEOUT = 15.0
SMALL = 4096
AGENTS = Path(__file__).resolve().parent / "agents"
_serial = itertools.count(1)


@dataclasses.dataclass(frozen=True)
class Kind:
    """A client library speaking one version of the protocol."""
    library: str
    version: int
    command: tuple
    # Paho C polls what it has open for up to a second before it sees a new connection: there a client gets a process.
    shared: bool = True

    def __str__(self):
        return f"{self.library}-{ {3: '3.1', 4: '3.1.1', 5: '5'}[self.version]}"


def paho_c(program):
    """The program that tests/interop/CMakeLists.txt builds."""
    return str(Path(os.environ.get("MM_PAHO_C_DIR", AGENTS.parents[2] / "build/dev/tests/interop")) / program)


def _kinds():
    for package in ("mqtt4", "mqtt5"):
        for version in (4, 5):
            yield Kind(f"mqtt.js_{package[-1]}", version, ("node", str(AGENTS / "js_agent.js"), package, str(version)))
    for version in (3, 4, 5):
        yield Kind("paho.py", version, ("/usr/bin/python3", str(AGENTS / "paho_agent.py"), str(version)))
    for api in ("sync", "async"):
        for version in (4, 5):
            yield Kind(f"paho.c_{api}", version, (paho_c(f"paho_{api}"), str(version)), shared=False)


KINDS = tuple(_kinds())
KINDS_5 = tuple(kind for kind in KINDS if kind.version == 5)


def _parse(fields):
    """The fields as a dict; "user" and "id" are lists."""
    found = {"user": [], "id": []}
    for field in fields:
        key, value = field.split("=", 1)
        if key in ("user", "id"):
            found[key].append(value)
        else:
            found[key] = value
    return found


class Agent:
    """A process with any number of clients of one kind."""

    def __init__(self, kind):
        self.kind = kind
        self.clients = {}
        self.errors = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen(kind.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors, text=True, bufsize=1)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            name, word, *fields = line.rstrip("\n").split("\t")
            client = self.clients[name]
            if client.done:
                continue
            if word in ("message", "closed"):
                client.events.put((word, _parse(fields)))
            else:
                client.answers.put((word, _parse(fields)))
        for client in self.clients.values():
            client.answers.put(("error", {"text": "the agent has ended"}))

    def client(self, port, client_id):
        name = f"c{next(_serial)}"
        self.clients[name] = AgentClient(self, name, port, client_id)
        return self.clients[name]

    def send(self, line):
        self.process.stdin.write(line + "\n")

    def kill(self):
        """As if the client's machine had lost power: no DISCONNECT."""
        self.process.kill()
        self._end()

    def stop(self):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._end()

    def _end(self):
        self.process.wait()
        self.reader.join(TIMEOUT)
        self.process.stdout.close()

    def diagnosis(self):
        self.errors.seek(0)
        return f"{self.kind}: exit code {self.process.poll()}, {self.errors.read()[-2000:]}"


@dataclasses.dataclass
class Message:
    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    properties: dict


def _message(fields):
    payload = fields.pop("payload")
    if payload.startswith("@"):
        file = Path(payload[1:])
        content = file.read_bytes()
        file.unlink()
    else:
        content = bytes.fromhex(payload)
    return Message(fields.pop("topic"), content, int(fields.pop("qos")), fields.pop("retain") == "1",
                   fields.pop("dup") == "1", {key: value for key, value in fields.items() if value})


class AgentClient:
    def __init__(self, agent, name, port, client_id):
        self.agent, self.name, self.port, self.client_id = agent, name, port, client_id
        self.answers, self.events = queue.Queue(), queue.Queue()
        self.session_present = None  # unknown: MQTT 3.1 does not say, and not every library passes it on
        self.done = False

    def _command(self, word, users=(), **fields):
        self._start(word, users, **fields)
        return self._answer(word)

    def _start(self, word, users=(), **fields):
        pairs = [f"{key}={value}" for key, value in fields.items()] + [f"user={user}" for user in users]
        self.agent.send("\t".join([self.name, word, *pairs]))

    def _answer(self, word):
        try:
            answer, fields = self.answers.get(timeout=TIMEOUT)
        except queue.Empty:
            raise AssertionError(f"{self.agent.kind}: no answer to {word}\n{self.agent.diagnosis()}") from None
        assert answer == "ok", f"{self.agent.kind}: {word}: {fields['text']}\n{self.agent.diagnosis()}"
        return fields

    def connect(self, **fields):
        answer = self._command("connect", port=self.port, id=self.client_id, **fields)
        if self.agent.kind.version != 3:
            self.session_present = {"0": False, "1": True, "?": None}[answer["session_present"]]
        return self

    def subscribe(self, topic_filter, qos=0, **fields):
        self._command("subscribe", filter=topic_filter, qos=qos, **fields)

    def unsubscribe(self, topic_filter):
        self._command("unsubscribe", filter=topic_filter)

    def publish(self, topic, payload, qos=0, retain=False, users=(), **properties):
        with contextlib.ExitStack() as stack:
            text = payload.hex()
            if len(payload) > SMALL:
                file = stack.enter_context(tempfile.NamedTemporaryFile(prefix="mm-agent-"))
                file.write(payload)
                file.flush()
                text = "@" + file.name
            self._command("publish", users, topic=topic, qos=qos, retain=int(retain), payload=text, **properties)

    def burst(self, topic, qos, count):
        self._command("burst", topic=topic, qos=qos, count=count)

    def start_burst(self, topic, qos, count):
        self._start("burst", topic=topic, qos=qos, count=count)

    def end_burst(self):
        self._answer("burst")

    def disconnect(self):
        self._command("disconnect")

    def close(self):
        """The end of the test: whatever state it is in, it must not go on."""
        self.done = True
        with contextlib.suppress(OSError, ValueError):
            self._start("close")

    def _event(self, expected):
        try:
            word, fields = self.events.get(timeout=TIMEOUT)
        except queue.Empty:
            raise AssertionError(f"{self.agent.kind}: nothing came\n{self.agent.diagnosis()}") from None
        assert word == expected, f"{self.agent.kind}: {word} {fields} instead of {expected}"
        return fields

    def receive(self):
        return _message(self._event("message"))

    def closed(self):
        """The reason code with which the broker closed the connection; 0 if it said none."""
        return int(self._event("closed")["code"])
