"""The clients of a run. Each keeps its half of the session over its connections, as MQTT asks of it, and writes into the
record what it sees. They differ in what they publish and in how they live."""
import asyncio
import random

from connection import Connection
from record import Attempt, Message, Read, Receipt, Send, Subscription, Will

from mm import packets
from mm.packets import V5, Type

EXPIRY = 3600
GIVE_UP = 15.0   # seconds for a CONNACK, then another attempt
HOPELESS = 60.0  # seconds without any CONNACK, then it is a violation
WINDOW = 12      # unacknowledged messages of a publisher


async def any_of(timeout, *events):
    """Wait until one of the events is set, `timeout` seconds at most."""
    tasks = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


class Client:
    """An identity and its connections. `current` is the one it lives on; it changes in the moment of a CONNACK."""

    def __init__(self, world, name, durable=True, version=V5):
        self.world, self.record, self.name = world, world.record, name
        self.durable, self.version = durable, version
        self.random = random.Random(f"{world.seed} {name}")
        self.current = None
        self.attempts = []
        self.had_session = False

    # ------------------------------------------------------------ connecting

    def start_connect(self, worker, will=None):
        """Begin to connect; (attempt, task of the connection)."""
        attempt = Attempt(len(self.record.attempts), self.name, worker, self.record.now())
        self.record.attempts.append(attempt)
        self.attempts.append(attempt)
        hello = packets.connect(self.name, self.version, clean=not self.durable, keep_alive=0, will=will,
                                properties={"session_expiry_interval": EXPIRY} if self.durable else None)
        connection = Connection(self, attempt, self.version, hello)
        return connection, asyncio.ensure_future(self._open(connection, worker))

    async def _open(self, connection, worker):
        """True when it is accepted."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(GIVE_UP):
                await loop.create_connection(lambda: connection, "127.0.0.1", self.world.port(worker))
                await connection.settled.wait()
        except TimeoutError:
            connection.abort("gave up")
        except OSError:
            connection.abort("lost")
        if connection.accepted:
            return True
        connection.abort()
        return False

    async def connect(self, worker=None, will=None):
        """Connect, however many attempts it takes."""
        began = self.record.now().time
        while True:
            connection, opened = self.start_connect(self.any_worker() if worker is None else worker, will)
            if await opened:
                return connection
            if self.record.now().time - began > HOPELESS:
                self.record.problem("stuck", f"{self.name} got no CONNACK for {HOPELESS} s", (), (self.name,))
                began = self.record.now().time
            await asyncio.sleep(self.random.uniform(0.02, 0.2))
            worker = None

    def any_worker(self):
        return self.random.randrange(self.world.workers)

    def on_connack(self, connection, packet):
        if packet.reason:
            return
        attempt = connection.attempt
        if self.had_session or not self.durable:
            attempt.expects = self.durable
        elif all(other.ended for other in self.attempts[:-1]) and len(self.attempts) == 1:
            attempt.expects = False
        self.had_session = self.durable
        self.current = connection

    def on_closed(self, connection):
        if self.current is connection:
            self.current = None
        others = [attempt for attempt in self.attempts if attempt is not connection.attempt]
        # By a newer one, by one of the same time, or by one that was given up and read later.
        taken = any(attempt.ended is None or attempt.ended > connection.attempt.asked or attempt.end == "gave up"
                    for attempt in others)
        reason = connection.attempt.reason
        if connection.attempt.accepted and reason is not None and not (reason == 0x8E and taken):
            self.record.problem("protocol", f"{self.name} was sent DISCONNECT {reason:#x}", (), (self.name,))

    def unexpected(self, connection, packet):
        self.record.problem("protocol", f"{self.name} (connection {connection.attempt.number}) got {packet}", (),
                            (self.name,))

    def lifetime(self, mean):
        return min(self.random.expovariate(1 / mean), 4 * mean)

    async def part(self, connection):
        """End a connection in one of the ways of clients; a durable session does not mind."""
        if self.random.random() < 0.5:
            connection.abort()
        else:
            await connection.leave()


# ---------------------------------------------------------------- publishers


class Publisher(Client):
    """Publishes with a window, and sends again what was not acknowledged when it comes back (if its session is durable;
    otherwise that is given up)."""

    def __init__(self, world, name, qos, topics, retain=False, rate=15.0, **kind):
        super().__init__(world, name, **kind)
        self.qos, self.topics, self.retain, self.pause = qos, topics, retain, 1 / rate
        self.inflight = {}     # packet id -> Message, in the order they were sent
        self.released = set()  # packet ids whose PUBREC has come
        self.acked = asyncio.Event()
        self.count = self.packet_id = 0

    async def run(self):
        while not (self.world.finishing.is_set() and not self.inflight):
            connection = await self.connect()
            await self.publish_until(connection, self.lifetime(6))
            if not self.world.finishing.is_set():
                await self.part(connection)
        if self.current:
            await self.current.leave()

    async def publish_until(self, connection, lifetime):
        end = self.record.now().time + lifetime
        while not connection.closed.is_set():
            if self.world.finishing.is_set():
                if not self.inflight:
                    return
                self.acked.clear()
                await any_of(1, self.acked, connection.closed)
                continue
            if self.record.now().time > end:
                return
            if len(self.inflight) < WINDOW:
                for _ in range(self.random.randrange(1, 4)):
                    self.publish(connection)
            await any_of(self.random.uniform(0, 4) * self.pause, connection.closed, self.world.finishing)

    def publish(self, connection):
        self.count += 1
        key = f"m|{self.name}|{self.count}"
        payload = b"" if self.retain and self.random.random() < 0.15 else self.payload(key)
        message = Message(key, self.name, self.count, self.random.choice(self.topics), payload, self.qos, self.retain)
        self.record.messages[key] = message
        while True:
            self.packet_id = self.packet_id % 65535 + 1
            if self.packet_id not in self.inflight:
                break
        self.inflight[self.packet_id] = message
        self.send(connection, self.packet_id, message, dup=False)

    def payload(self, key):
        size = self.random.choices([0, 300, 4000, 300_000], [60, 35, 4.9, 0.1])[0]
        return f"{key}|".encode() + bytes(size)

    def send(self, connection, packet_id, message, dup):
        message.sends.append(Send(connection.attempt.number, self.record.now(), dup))
        connection.send(packets.publish(message.topic, message.payload, message.qos, packet_id, message.retain, dup,
                                        self.version))

    def on_connack(self, connection, packet):
        super().on_connack(connection, packet)
        if packet.reason:
            return
        if not self.durable:
            self.inflight.clear()
            self.released.clear()
        for packet_id, message in self.inflight.items():
            if packet_id in self.released:
                connection.send(packets.acknowledge(Type.PUBREL, packet_id))
            else:
                self.send(connection, packet_id, message, dup=True)

    def on_packet(self, connection, packet):
        message = self.inflight.get(getattr(packet, "packet_id", None))
        if packet.type not in (Type.PUBACK, Type.PUBREC, Type.PUBCOMP) or message is None:
            self.unexpected(connection, packet)
            return
        if packet.type == (Type.PUBACK if self.qos == 2 else Type.PUBREC):
            self.unexpected(connection, packet)
        elif packet.type == Type.PUBCOMP:
            if packet.packet_id not in self.released:
                self.unexpected(connection, packet)
            self.forget(packet.packet_id)
        elif packet.reason >= 0x80:
            message.refused = packet.reason
            self.forget(packet.packet_id)
        else:
            if not message.acked:
                message.acked, message.acked_on = self.record.now(), connection.attempt.number
            if packet.type == Type.PUBACK:
                self.forget(packet.packet_id)
            else:
                self.released.add(packet.packet_id)
                connection.send(packets.acknowledge(Type.PUBREL, packet.packet_id))

    def forget(self, packet_id):
        del self.inflight[packet_id]
        self.released.discard(packet_id)
        self.acked.set()


# ---------------------------------------------------------------- subscribers


class Subscriber(Client):
    """A durable subscription. `online` and `away` are mean seconds; a mover connects anew while it is connected."""

    def __init__(self, world, name, filter, qos, online=8.0, away=1.0, mover=False, group="", late=0.0, **kind):
        super().__init__(world, name, **kind)
        self.online, self.away, self.mover, self.late = online, away, mover, late
        self.subscription = Subscription(name, filter, qos, group)
        self.record.subscriptions[name] = self.subscription
        self.receipts = self.record.receipts.setdefault(name, [])
        self.subscribed = asyncio.Event()
        self.unreleased = {}  # packet id -> Receipt: the receiver's half of QoS 2
        self.held = []        # acknowledgements that a lazy client has not sent yet
        self.lazy = False

    async def run(self):
        await asyncio.sleep(self.late)
        while not self.world.over.is_set():
            connection = await self.connect()
            if not self.subscription.acked:
                self.subscribe(connection)
                await any_of(20, self.subscribed, connection.closed)
            await self.stay(connection)
            if self.world.over.is_set():
                break
            if self.mover and self.current and not self.world.draining.is_set():
                continue
            await self.part(connection)
            await any_of(self.lifetime(self.away), self.world.draining)
        if self.current:
            await self.current.leave()

    async def stay(self, connection):
        self.lazy = not self.world.draining.is_set() and self.random.random() < 0.3
        if not self.world.draining.is_set():
            await any_of(self.lifetime(self.online), connection.closed, self.world.draining)
        self.lazy = False
        self.flush(connection)
        if self.world.draining.is_set():
            await any_of(None, connection.closed, self.world.over)

    def subscribe(self, connection):
        wanted = self.subscription
        name = f"$share/{wanted.group}/{wanted.filter}" if wanted.group else wanted.filter
        connection.send(packets.subscribe(1, [(name, wanted.qos)], self.version))

    def on_connack(self, connection, packet):
        old = self.current
        super().on_connack(connection, packet)
        if packet.reason:
            return
        self.held.clear()
        if old:
            old.ping()  # which must not be answered any more
        if not packet.session_present:
            self.unreleased.clear()

    def on_packet(self, connection, packet):
        if packet.type == Type.PUBLISH:
            self.on_publish(connection, packet)
        elif connection is not self.current:
            return
        elif packet.type == Type.PUBREL:
            self.unreleased.pop(packet.packet_id, None)
            self.answer(connection, Type.PUBCOMP, packet.packet_id)
        elif packet.type == Type.SUBACK and packet.reasons == [self.subscription.qos]:
            if not self.subscription.acked:
                self.subscription.acked, self.subscription.attempt = self.record.now(), connection.attempt.number
            self.subscribed.set()
        else:
            self.unexpected(connection, packet)

    def on_publish(self, connection, packet):
        key = b"|".join(packet.payload.split(b"|", 3)[:3]).decode(errors="replace")
        receipt = Receipt(key, connection.attempt.number, self.record.now(), packet.qos, packet.dup, packet.packet_id)
        if connection is not self.current:
            self.record.late.append((self.name, receipt))
            return
        self.check_bytes(packet, key)
        self.receipts.append(receipt)
        self.world.progress()
        if packet.qos == 1:
            self.answer(connection, Type.PUBACK, packet.packet_id)
        elif packet.qos == 2:
            known = self.unreleased.setdefault(packet.packet_id, receipt)
            receipt.delivered = known is receipt
            if known.key != key:
                self.record.problem("protocol", f"{self.name} got {key} with packet id {packet.packet_id}, under which "
                                    f"{known.key} is not released", (key, known.key), (self.name,))
            self.answer(connection, Type.PUBREC, packet.packet_id)

    def check_bytes(self, packet, key):
        source = self.record.messages.get(key) or self.record.wills.get(key)
        payload = getattr(source, "payload", packet.payload)
        if source and (packet.topic, packet.payload) != (source.topic, payload):
            self.record.problem("alien", f"{self.name} got {key} as {packet}", (key,), (self.name,))

    def answer(self, connection, type, packet_id):
        self.held.append(packets.acknowledge(type, packet_id))
        if not self.lazy:
            self.flush(connection)
        elif len(self.held) == 1:
            asyncio.get_running_loop().call_later(self.random.uniform(0.05, 0.4), self.flush, connection)

    def flush(self, connection):
        if connection is self.current and self.held:
            connection.send(b"".join(self.held))
            self.held.clear()


# ---------------------------------------------------------------- wills


class WillClient(Client):
    """Lives with a will, a new one for each connection, and ends in all ways. With a delay it comes back at once, or
    stays away for good under that name."""

    def __init__(self, world, name, qos, delay=0, durable=True):
        super().__init__(world, name, durable)
        self.qos, self.delay, self.lives = qos, delay, 0

    async def run(self):
        while not self.world.finishing.is_set():
            before = len(self.attempts)
            connection = await self.connect_with_will()
            if connection is None:
                return
            await any_of(self.lifetime(2.5), connection.closed, self.world.finishing)
            await self.end(connection)
            if any(attempt.end == "gave up" for attempt in self.attempts[before:]):
                return  # that CONNECT may still be read, and take over whatever lives under this name
            if self.delay and self.random.random() < 0.3:
                return
            await any_of(self.random.uniform(0, self.delay / 3 or 1.0), self.world.finishing)

    async def connect_with_will(self):
        """Like connect(), but each attempt has a will of its own; None when the run ends."""
        began = self.record.now().time
        while not self.world.finishing.is_set():
            self.lives += 1
            key, topic = f"w|{self.name}|{self.lives}", f"will/{self.name}"
            properties = {"will_delay_interval": self.delay} if self.delay else {}
            will = packets.Will(topic, f"{key}|".encode(), self.qos, **properties)
            connection, opened = self.start_connect(self.any_worker(), will)
            self.record.wills[key] = Will(key, connection.attempt.number, topic, self.qos, self.delay, self.durable)
            if await opened:
                return connection
            if connection.attempt.end == "gave up":
                return None
            if self.record.now().time - began > HOPELESS:
                self.record.problem("stuck", f"{self.name} got no CONNACK for {HOPELESS} s", (), (self.name,))
                return None
            await asyncio.sleep(self.random.uniform(0.02, 0.2))
        return None

    async def end(self, connection):
        how = self.random.random()
        if how < 0.5:
            connection.abort()
        elif how < 0.9:
            await connection.leave()
        else:
            await connection.leave(with_will=True)

    def on_packet(self, connection, packet):
        self.unexpected(connection, packet)


# ---------------------------------------------------------------- one id, many connections


class Rival(Client):
    """Connects with one id from several places at once; whoever was accepted asks whether it lives (contract C7)."""

    async def run(self):
        while not self.world.finishing.is_set():
            racers = [self.start_connect(self.any_worker()) for _ in range(self.random.randrange(2, 4))]
            await asyncio.wait([opened for _, opened in racers])
            live = [connection for connection, _ in racers if connection.accepted]
            for connection in live:
                connection.ping()
            await any_of(self.lifetime(1), self.world.finishing)
            await self.loser_ends(live)
            for connection in live:
                connection.abort()
            await any_of(self.lifetime(1), self.world.finishing)

    async def loser_ends(self, live):
        """All but one are closed by the broker."""
        deadline = self.record.now().time + GIVE_UP
        while len(open_ones := [connection for connection in live if not connection.closed.is_set()]) > 1:
            if self.record.now().time > deadline:
                self.record.problem("owner", f"{self.name} has {len(open_ones)} open connections", (), (self.name,))
                return
            await any_of(0.5, *[connection.closed for connection in open_ones])

    def on_packet(self, connection, packet):
        self.unexpected(connection, packet)

    def on_connack(self, connection, packet):
        if not packet.reason:  # which of the racers found a session nobody can say, but later ones do
            earlier = [attempt for attempt in self.attempts if attempt.accepted and attempt.reason is None
                       and attempt.ended and attempt.ended < connection.attempt.asked]
            connection.attempt.expects = True if earlier else None
            self.current = connection

    def on_closed(self, connection):
        super().on_closed(connection)
        if connection.attempt.reason == 0x8E:
            connection.attempt.expects = None  # it may have been told so at once, without a look at the session


# ---------------------------------------------------------------- readers of retained messages


class Reader(Client):
    """A fresh subscription: what it is sent first are the retained messages."""

    def __init__(self, world, name, filter):
        super().__init__(world, name, durable=False)
        self.filter, self.found = filter, {}

    async def read(self, worker, seconds, final=False):
        """What retained messages came within `seconds`: {topic: payload}; None: the connection broke."""
        self.final, self.worker = final, worker
        connection = await self.connect(worker)
        self.asked = self.record.now()
        connection.send(packets.subscribe(1, [(self.filter, 1)]))
        await any_of(seconds, connection.closed)
        whole = connection.accepted
        connection.abort()
        return self.found if whole else None

    def on_packet(self, connection, packet):
        if packet.type == Type.PUBLISH:
            if packet.qos:
                connection.send(packets.acknowledge(Type.PUBACK, packet.packet_id))
            if packet.retain:
                self.found[packet.topic] = packet.payload
                self.record.reads.append(Read(self.asked, connection.attempt.worker, packet.topic, packet.payload,
                                              self.final))
        elif packet.type != Type.SUBACK:
            self.unexpected(connection, packet)


class RetainedReaders:
    """Looks at the retained messages now and then, each time as somebody new."""

    def __init__(self, world, filters):
        self.world, self.filters, self.count = world, filters, 0
        self.random = random.Random(f"{world.seed} readers")

    async def run(self):
        while not self.world.finishing.is_set():
            self.count += 1
            reader = Reader(self.world, f"reader-{self.count}", self.random.choice(self.filters))
            await reader.read(self.random.randrange(self.world.workers), 0.5)
            await any_of(self.random.uniform(0, 1.5), self.world.finishing)
