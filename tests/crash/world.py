"""A run: the broker, its clients and what kills it, from start to judgement."""
import asyncio
import collections
import time
import traceback

import checks
from clients import Publisher, Reader, RetainedReaders, Rival, Subscriber, WillClient, any_of
from cluster_reaper import ClusterReaper
from reaper import BrokerEnded, Reaper
from record import Record

from mm.broker import Broker
from mm.packets import V311

WORKERS = 4
HOST_WORKERS = 2  # of each host, if there are several
CONFIG = {
    "log_level": "debug",   # which says who serves a client
    "stall_timeout": 60,    # a busy machine is no stuck worker
    "stop_timeout": 20,
}
PUBLISHED = 60.0  # seconds until everything in flight is acknowledged once nobody is killed any more
QUIET = 20.0      # seconds without anything new after which what is missing is lost
RETAINED = 20.0   # seconds until all workers show the retained messages that they should
LONGEST = 300.0   # seconds that a run may take besides those of its kills,
LONGEST_KILL = 10.0  # and that a kill may: that of a host waits for its adoption


class World:
    def __init__(self, seed, kills, seconds, workers=None, rate=1.0, config=None, cut=False, hosts=1):
        """`workers` of each of the hosts."""
        workers = workers or (WORKERS if hosts == 1 else HOST_WORKERS)
        self.seed, self.kills, self.seconds, self.workers = seed, kills, seconds, hosts * workers
        self.record = Record(seed, workers)
        config = {**CONFIG, **(config or {})}
        self.reaper = (Reaper(self, Broker(workers, config), cut=cut) if hosts == 1 else
                       ClusterReaper(self, hosts, workers, config))
        self.finishing = asyncio.Event()  # nothing new is published, nobody is killed
        self.draining = asyncio.Event()   # every subscriber is there and stays
        self.over = asyncio.Event()
        self.connections = set()          # that are open
        self.failure = None
        self.last_progress = time.monotonic()
        self.make_clients(rate)

    def make_clients(self, rate):
        self.watchers = [
            Subscriber(self, "watch-online", "will/#", 2),
            Subscriber(self, "watch-offline", "will/#", 2, online=0.5, away=4),
            Subscriber(self, "watch-mover", "will/#", 2, online=2, mover=True),
        ]
        late = self.seconds / 3
        self.subscribers = [
            Subscriber(self, "online-all", "c/#", 2),
            Subscriber(self, "online-0", "c/+/0", 2, version=V311),
            Subscriber(self, "online-1", "c/one/#", 1),
            Subscriber(self, "online-2", "c/two/#", 2),
            Subscriber(self, "offline-all", "c/#", 1, online=0.5, away=5),
            Subscriber(self, "offline-1", "c/+/1", 2, online=0.3, away=8),
            Subscriber(self, "offline-2", "c/+/2", 1, online=0.3, away=8, version=V311),
            Subscriber(self, "away", "c/#", 2, online=0.2, away=3600),
            Subscriber(self, "mover-all", "c/#", 2, online=2, mover=True),
            Subscriber(self, "mover-0", "c/+/0", 1, online=1, mover=True),
            Subscriber(self, "mover-1", "c/+/1", 2, online=0.5, mover=True, version=V311),
            Subscriber(self, "late-0", "c/+/0", 2, late=late),
            Subscriber(self, "late-1", "c/+/1", 1, online=1, away=3, late=late * 1.5),
            *[Subscriber(self, f"member-{number}", "c/+/2", 2, group="g", online=5, away=2) for number in range(3)],
        ]
        topics = {name: [f"c/{name}/{number}" for number in range(3)] for name in ("one", "two", "any")}
        self.publishers = [
            *[Publisher(self, f"one-{number}", 1, topics["one"], rate=15 * rate) for number in range(3)],
            *[Publisher(self, f"two-{number}", 2, topics["two"], rate=15 * rate) for number in range(3)],
            Publisher(self, "one-old", 1, topics["any"], rate=8 * rate, version=V311),
            Publisher(self, "two-old", 2, topics["any"], rate=8 * rate, version=V311),
            Publisher(self, "one-forgetful", 1, topics["any"], rate=8 * rate, durable=False),
            *[Publisher(self, f"keeper-{qos}", qos, [f"ret/{qos}/{number}" for number in range(6)], retain=True,
                        rate=4 * rate) for qos in (1, 2)],
            Publisher(self, "keeper-forgetful", 1, [f"ret/f/{number}" for number in range(6)], retain=True,
                      rate=4 * rate, durable=False),
        ]
        self.others = [
            *[WillClient(self, f"will-{number}", qos=1 + number % 2) for number in range(3)],
            *[WillClient(self, f"will-brief-{number}", qos=1 + number % 2, durable=False) for number in range(2)],
            *[WillClient(self, f"will-delayed-{number}", qos=2, delay=1 + number) for number in range(4)],
            *[Rival(self, f"rival-{number}") for number in range(2)],
            RetainedReaders(self, ["ret/#", "ret/1/+", "ret/2/#", "ret/f/3"]),
        ]

    def port(self, worker):
        return self.reaper.port(worker)

    def progress(self):
        self.last_progress = time.monotonic()

    def fail(self, error):
        self.failure = self.failure or "".join(traceback.format_exception(error))

    # ------------------------------------------------------------ the run

    async def run(self):
        await self.reaper.start()
        tasks = []
        try:
            async with asyncio.timeout(LONGEST + self.seconds + LONGEST_KILL * self.kills):
                await self.act(tasks)
        except TimeoutError:
            self.record.problem("stuck", "the run does not end")
        except BrokerEnded as error:
            self.record.problem("process", str(error))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self.failure:
                self.reaper.abandon()
            else:
                await self.reaper.stop()
        self.reaper.read_log()

    async def act(self, tasks):
        """`tasks`: what goes on until the end."""
        tasks += self.launch(self.watchers + [subscriber for subscriber in self.subscribers if not subscriber.late])
        await self.all_subscribed()
        actors = self.launch(self.publishers + self.others + [late for late in self.subscribers if late.late])
        tasks += actors
        await self.reaper.run(self.kills, self.seconds)
        await self.reaper.healed()
        await self.finish(actors[:len(self.publishers)], actors[len(self.publishers):][:len(self.others)])
        await self.drain()
        await self.read_retained()
        await self.settle(tasks)

    def launch(self, clients):
        async def guarded(client):
            try:
                await client.run()
            except Exception as error:
                self.fail(error)
        return [asyncio.ensure_future(guarded(client)) for client in clients]

    async def all_subscribed(self):
        for subscriber in self.watchers + self.subscribers:
            if not subscriber.late:
                await any_of(30, subscriber.subscribed)
                if not subscriber.subscription.acked:
                    self.record.problem("stuck", f"{subscriber.name} got no SUBACK for 30 s", (), (subscriber.name,))

    async def finish(self, publishers, others):
        """Everything that was published is acknowledged, and every will client has ended."""
        self.finishing.set()
        await asyncio.wait(publishers + others, timeout=PUBLISHED)
        for publisher in self.publishers:
            if publisher.inflight:
                keys = [message.key for message in publisher.inflight.values()]
                self.record.problem("stuck", f"{publisher.name} got no acknowledgement of {keys[:5]} for {PUBLISHED} s",
                                    keys, (publisher.name,))

    async def drain(self):
        """All subscribers are there until they have what they should, or nothing new has come for a while."""
        self.draining.set()
        self.progress()
        while not self.failure and self.missing() and time.monotonic() - self.last_progress < QUIET:
            await asyncio.sleep(0.5)

    def missing(self):
        return any(True for check in (checks.lost, checks.shared, checks.wills) for violation in check(self.record)
                   if violation.kind in ("lost", "will missing"))

    async def read_retained(self):
        deadline = time.monotonic() + RETAINED
        number = 0
        while not self.failure:
            for worker in range(self.workers):
                number += 1
                found = await Reader(self, f"last-reader-{number}", "ret/#").read(worker, 1.0, final=True)
                if found is not None:
                    self.record.final[worker] = found
            if not any(True for _ in checks.retained(self.record)) or time.monotonic() > deadline:
                return

    async def settle(self, tasks):
        """Nothing is left to come: repeats would be here, and connections that were taken over have ended."""
        await asyncio.sleep(1)
        for subscriber in self.watchers + self.subscribers:
            if subscriber.current:
                subscriber.current.ping()
        deadline = time.monotonic() + checks.CLOSING
        while self.superseded() and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
        self.over.set()
        await asyncio.wait(tasks, timeout=30)

    def superseded(self):
        latest = {}
        for attempt in self.record.attempts:
            if attempt.accepted:
                latest[attempt.client] = attempt
        return [attempt for attempt in latest.values() for attempt in self.record.attempts
                if attempt.accepted and not attempt.ended and attempt is not latest[attempt.client]]

    # ------------------------------------------------------------ the result

    def summary(self, violations):
        record = self.record
        messages = record.messages.values()
        acked = [message for message in messages if message.acked]
        verdicts = collections.Counter(checks.will_verdict(record, will) for will in record.wills.values())
        fired = {receipt.key for receipt in record.receipts["watch-online"]}
        return {
            "seed": self.seed, "seconds": round(record.now().time, 1),
            "kills": dict(collections.Counter(kill.what for kill in record.kills)),
            "published": len(messages), "acknowledged": len(acked),
            "refused": sum(message.refused is not None for message in messages),
            "delivered": sum(receipt.delivered for receipts in record.receipts.values() for receipt in receipts),
            "duplicates_qos1": checks.duplicates(record),
            "connections": sum(attempt.accepted is not None for attempt in record.attempts),
            "wills": {**verdicts, "fired": len(fired)}, "retained": len(next(iter(record.final.values()), {})),
            "worst_replacement_s": round(record.worst_replacement, 3),
            "worst_acknowledgement_s": round(max((message.acked.time - message.sends[0].at.time for message in acked),
                                                 default=0), 3),
            "violations": len(violations), "kinds": dict(collections.Counter(violation.kind for violation in violations)),
        }
