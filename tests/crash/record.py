"""What happened in a run, as the clients saw it: plain data, written by the clients and judged afterwards."""
import itertools
import time
from dataclasses import dataclass, field
from typing import NamedTuple


class Moment(NamedTuple):
    """One process sees everything, so all it sees has one order."""
    order: int
    time: float  # seconds since the run began

    def __str__(self):
        return f"{self.time:.3f}"


@dataclass(frozen=True)
class Violation:
    kind: str
    text: str
    keys: tuple = ()     # the messages concerned
    clients: tuple = ()  # the clients concerned


@dataclass
class Ping:
    sent: Moment
    answered: Moment | None = None


@dataclass
class Attempt:
    """A CONNECT and the connection that came of it."""
    number: int
    client: str
    worker: int                    # whose port; another worker may have accepted for it
    asked: Moment
    local_port: int = 0
    accepted: Moment | None = None
    present: bool = False
    alive: Moment | None = None    # the last packet that was read
    ended: Moment | None = None    # when we ended it, or saw its end
    end: str = ""                  # lost, aborted, left, left with will, gave up
    reason: int | None = None      # of the DISCONNECT that the broker sent
    goodbye: Moment | None = None  # our DISCONNECT
    pings: list = field(default_factory=list)
    served_by: int | None = None   # from the broker's log
    expects: bool | None = None    # whether it is to find a session; None: nobody knows


class Send(NamedTuple):
    attempt: int
    at: Moment
    dup: bool


@dataclass
class Message:
    key: str
    publisher: str
    number: int
    topic: str
    payload: bytes
    qos: int
    retain: bool
    sends: list = field(default_factory=list)
    acked: Moment | None = None
    acked_on: int | None = None  # the attempt
    refused: int | None = None   # reason code

    @property
    def deletes(self):
        return self.retain and not self.payload


@dataclass
class Receipt:
    """A PUBLISH that a subscriber got. Not `delivered`: a QoS 2 repeat that the client's half of the session filtered."""
    key: str
    attempt: int
    at: Moment
    qos: int
    dup: bool
    packet_id: int | None
    delivered: bool = True


@dataclass
class Subscription:
    client: str
    filter: str
    qos: int
    group: str = ""
    acked: Moment | None = None
    attempt: int | None = None  # that got the SUBACK


@dataclass
class Will:
    key: str
    attempt: int
    topic: str
    qos: int
    delay: int
    durable: bool


class Kill(NamedTuple):
    at: Moment
    wall: float
    what: str     # "worker", "master", "gateway", ...
    slots: tuple  # the workers that died of it
    pid: int


@dataclass
class Trouble:
    """A time in which the hosts could not speak to each other for certain: Redis was away."""
    begun: Moment
    over: Moment | None = None

    def __contains__(self, moment):
        return self.begun < moment and (self.over is None or moment < self.over)


class Read(NamedTuple):
    """A retained message that a fresh subscription got."""
    asked: Moment
    worker: int
    topic: str
    payload: bytes
    final: bool


class Record:
    def __init__(self, seed, workers=1):
        self.seed, self.workers = seed, workers  # of a host
        self.began, self._order = time.monotonic(), itertools.count()
        self.attempts = []
        self.messages = {}                # key -> Message
        self.subscriptions = {}           # client -> Subscription
        self.receipts = {}                # client -> [Receipt]
        self.late = []                    # (client, Receipt): read from a connection after a newer one was accepted
        self.wills = {}                   # key -> Will
        self.kills = []
        self.troubles = []                # of a cluster
        self.reads = []
        self.final = {}                   # worker -> {topic: payload}
        self.problems = []                # violations seen on the spot
        self.worst_replacement = 0.0

    def now(self):
        return Moment(next(self._order), time.monotonic() - self.began)

    def host_of(self, attempt):
        """Which host served an attempt: workers are numbered through all of them."""
        return self.attempts[attempt].worker // self.workers

    def problem(self, kind, text, keys=(), clients=()):
        self.problems.append(Violation(kind, f"{self.now()}: {text}", tuple(keys), tuple(clients)))
