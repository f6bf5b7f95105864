"""Faults put into the record of a run: each must be found, or the check that should find it is none."""
import copy
import random

import checks
from record import Ping, Receipt


def tampered(record, fault):
    record = copy.deepcopy(record)
    FAULTS[fault][0](record, random.Random(record.seed))
    return record


def unnoticed(record, fault):
    """Whether the judgement of a record with that fault misses the kind of violation it is."""
    return not any(violation.kind == FAULTS[fault][1] for violation in checks.judge(tampered(record, fault)))


def a_receipt(record, chance, wanted):
    """(receipts of a client, index) of one that is as wanted."""
    found = [(receipts, index) for client, receipts in record.receipts.items() for index, receipt in enumerate(receipts)
             if receipt.delivered and wanted(client, receipt, receipts)]
    return chance.choice(found)


def due_to(record, client, receipt):
    return any(message.key == receipt.key for message in checks.due(record, record.subscriptions[client]))


def drop(record, chance):
    receipts, index = a_receipt(record, chance, lambda client, receipt, _: client == "online-all"
                                and due_to(record, client, receipt))
    key = receipts[index].key
    receipts[:] = [receipt for receipt in receipts if receipt.key != key]


def drop_of_a_group(record, chance):
    _, index = a_receipt(record, chance, lambda client, *_: client == "member-0")
    key = record.receipts["member-0"][index].key
    for member in ("member-0", "member-1", "member-2"):
        record.receipts[member][:] = [receipt for receipt in record.receipts[member] if receipt.key != key]


def duplicate(record, chance):
    receipts, index = a_receipt(record, chance, lambda client, receipt, _: receipt.key in record.messages
                                and receipt.qos == 2 and record.messages[receipt.key].qos == 2
                                and not record.subscriptions[client].group)
    receipts.append(copy.copy(receipts[index]))


def duplicate_in_a_group(record, chance):
    receipts, index = a_receipt(record, chance, lambda client, receipt, _: client == "member-0" and receipt.qos == 2
                                and record.messages[receipt.key].sends[0].at > record.subscriptions["member-2"].acked)
    record.receipts["member-1"].append(copy.copy(receipts[index]))


def reorder(record, chance):
    """Two neighbours of one publisher's stream and connection change places."""
    def swappable(client, receipt, receipts):
        return client == "online-all" and successor(record, receipts, receipt) is not None
    receipts, index = a_receipt(record, chance, swappable)
    other = successor(record, receipts, receipts[index])
    receipts[index].key, receipts[other].key = receipts[other].key, receipts[index].key


def successor(record, receipts, receipt):
    message = record.messages.get(receipt.key)
    if not message or len(message.sends) > 1:
        return None
    for index in range(receipts.index(receipt) + 1, len(receipts)):
        other = record.messages.get(receipts[index].key)
        if other and (other.publisher, other.topic) == (message.publisher, message.topic):
            same = len(other.sends) == 1 and other.sends[0].attempt == message.sends[0].attempt
            return index if same and other is not message else None
    return None


def retained(record, chance):
    """A worker has the value before the last."""
    values = [message for message in record.messages.values() if message.retain]
    for topic in sorted({message.topic for message in values}):
        history = [message for message in values if message.topic == topic]
        if len(history) > 1 and all(message.acked for message in history):
            record.final[min(record.final)][topic] = history[-2].payload
            return
    raise AssertionError("no topic with two retained values")


def stale_read(record, chance):
    """A new subscription is sent a value that was replaced before."""
    for read in record.reads:
        history = [message for message in record.messages.values() if message.retain and message.topic == read.topic
                   and message.acked and message.acked < read.asked and message.payload]
        if len(history) > 1:
            record.reads.append(read._replace(payload=history[0].payload))
            return
    raise AssertionError("nobody read a retained message with a history")


def a_will(record, chance, verdict):
    return chance.choice([will for will in record.wills.values() if checks.will_verdict(record, will) == verdict])


def will_missing(record, chance):
    key = a_will(record, chance, "due").key
    for receipts in record.receipts.values():
        receipts[:] = [receipt for receipt in receipts if receipt.key != key]


def will_unwanted(record, chance):
    will = a_will(record, chance, "forbidden")
    record.receipts["watch-online"].append(Receipt(will.key, 0, record.now(), will.qos, False, 1))


def will_repeated(record, chance):
    receipts, index = a_receipt(record, chance, lambda client, receipt, _: receipt.key in record.wills)
    receipts.append(copy.copy(receipts[index]))


def will_early(record, chance):
    will = next(will for will in record.wills.values() if will.delay and record.attempts[will.attempt].accepted)
    record.receipts["watch-online"].append(
        Receipt(will.key, 0, record.attempts[will.attempt].alive, will.qos, False, 1))


def owner(record, chance):
    """The older of two connections answers a PINGREQ."""
    first, second = next((first, second) for first in record.attempts for second in record.attempts[first.number + 1:]
                         if first.client == second.client and first.accepted and second.accepted
                         and first.ended > second.accepted and second.asked > first.accepted)
    now = record.now()
    first.pings.append(Ping(now, now))
    first.ended = record.now()


def session(record, chance):
    chance.choice([attempt for attempt in record.attempts if attempt.expects and attempt.accepted]).present = False


def alien(record, chance):
    receipts, index = a_receipt(record, chance, lambda *_: True)
    receipts[index].key = "m|nobody|1"


# name: (what it does, the kind of violation that must be found)
FAULTS = {
    "drop": (drop, "lost"), "drop-group": (drop_of_a_group, "lost"), "dup": (duplicate, "repeated"),
    "dup-group": (duplicate_in_a_group, "repeated"), "reorder": (reorder, "order"), "retained": (retained, "retained"),
    "stale-read": (stale_read, "retained"), "will": (will_missing, "will missing"),
    "will-unwanted": (will_unwanted, "will unwanted"), "will-dup": (will_repeated, "will repeated"),
    "will-early": (will_early, "will early"), "owner": (owner, "owner"), "session": (session, "session"),
    "alien": (alien, "alien"),
}
