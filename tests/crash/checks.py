"""The judgement of a run: `judge(record)` lists what the broker owed and did not do, and what it did and should not have.

Every check reasons about what the clients can know. Where a kill makes two outcomes right, both are."""
import collections

from record import Violation

from mm.topics import matches

SETTLED = 1.0    # a DISCONNECT counts for sure when its worker outlived it by this many seconds
NOTICED = 0.5    # seconds in which the test sees the end of a connection
CLOSING = 20.0   # seconds in which a connection that was taken over must end


def judge(record):
    found = list(record.problems)
    for check in (content, lost, shared, exactly_once, order, owner, sessions, retained, wills):
        found += check(record)
    return found


# ---------------------------------------------------------------- messages


def acknowledged(record):
    return [message for message in record.messages.values() if message.acked]


def due(record, subscription):
    """What a subscriber must have: acknowledged, and first published after its SUBACK."""
    if not subscription.acked:
        return []
    return [message for message in acknowledged(record)
            if message.sends[0].at > owed_from(record, subscription, message)
            and matches(subscription.filter, message.topic)]


def owed_from(record, subscription, message):
    """A SUBACK while Redis is away holds on its own host; on others when they speak to each other again (C5)."""
    if record.host_of(message.sends[0].attempt) != record.host_of(subscription.attempt):
        for trouble in record.troubles:
            if subscription.acked in trouble:
                return trouble.over or message.sends[0].at
    return subscription.acked


def delivered(record, client):
    return collections.Counter(receipt.key for receipt in record.receipts.get(client, ()) if receipt.delivered)


def members(record):
    """{(group, filter): [Subscription]} of shared subscriptions."""
    groups = collections.defaultdict(list)
    for subscription in record.subscriptions.values():
        if subscription.group:
            groups[subscription.group, subscription.filter].append(subscription)
    return groups


def lost(record):
    for subscription in record.subscriptions.values():
        if subscription.group:
            continue
        got = delivered(record, subscription.client)
        for message in due(record, subscription):
            if message.key not in got:
                yield Violation("lost", f"{message.key} was acknowledged ({message.acked}) and never came to "
                                f"{subscription.client}", (message.key,), (subscription.client,))


def shared(record):
    """A group gets each message: once at QoS 2, at least once at QoS 1."""
    for (group, name), group_members in members(record).items():
        got = collections.Counter()
        for member in group_members:
            got += delivered(record, member.client)
        clients = tuple(member.client for member in group_members)
        since = [member.acked for member in group_members]
        for message in acknowledged(record):
            if not all(since) or message.sends[0].at < max(since) or not matches(name, message.topic):
                continue
            qos = min(message.qos, group_members[0].qos)
            if not got[message.key]:
                yield Violation("lost", f"{message.key} was acknowledged ({message.acked}) and never came to a member "
                                f"of {group}", (message.key,), clients)
            elif qos == 2 and got[message.key] > 1:
                yield Violation("repeated", f"{message.key} came to {got[message.key]} members of {group}",
                                (message.key,), clients)


def exactly_once(record):
    for client, receipts in record.receipts.items():
        times = collections.Counter(receipt.key for receipt in receipts if receipt.delivered and receipt.qos == 2)
        for key, count in times.items():
            if count > 1 and (key in record.wills or record.messages[key].qos == 2):
                yield Violation("repeated", f"{key} at QoS 2 came to {client} {count} times", (key,), (client,))


def content(record):
    """What came was published so, and came at the QoS it should."""
    for client, receipts in record.receipts.items():
        subscription = record.subscriptions[client]
        for receipt in receipts:
            source = record.messages.get(receipt.key) or record.wills.get(receipt.key)
            if source is None:
                yield Violation("alien", f"{client} got {receipt.key}, which nobody published", (), (client,))
            elif receipt.qos != min(source.qos, subscription.qos):
                yield Violation("alien", f"{client} got {receipt.key} at QoS {receipt.qos}", (receipt.key,), (client,))


def duplicates(record):
    """Repeats that are allowed."""
    count = 0
    for client in record.receipts:
        count += sum(times - 1 for times in delivered(record, client).values())
    return count


# ---------------------------------------------------------------- order


def order(record):
    """First arrivals of one publishing connection, topic and QoS.

    `b` before `a` is wrong if `a` went out before `b` in every connection that can have brought this `b`, and after the
    SUBACK: what went out before may have come by its repetition only."""
    for client, receipts in record.receipts.items():
        subscription = record.subscriptions[client]
        if subscription.group or not subscription.acked:
            continue
        streams = collections.defaultdict(dict)
        for receipt in receipts:
            message = record.messages.get(receipt.key)
            if message and receipt.delivered:
                streams[message.publisher, message.topic, message.qos].setdefault(message.key, (message, receipt))
        for stream in streams.values():
            yield from inversions(client, list(stream.values()), subscription.acked)


def inversions(client, arrivals, since):
    greatest = -1
    for position, (late, _) in enumerate(arrivals):
        if late.number > greatest:
            greatest = late.number
            continue
        for early, receipt in arrivals[:position]:
            if early.number > late.number and always_before(late, early, since, receipt.at):
                yield Violation("order", f"{client} got {early.key} before {late.key}", (late.key, early.key), (client,))
                break


def always_before(a, b, since, arrival):
    for send in b.sends:
        if send.at > arrival:
            break
        if not any(other.attempt == send.attempt and since < other.at < send.at for other in a.sends):
            return False
    return True


# ---------------------------------------------------------------- connections


def owner(record):
    """C7. Two connections of one id are never both served once both were accepted: a PING sent after that is answered
    on one of them at most, and not on the older one; nor does the older one get what was published after that."""
    by_client = collections.defaultdict(list)
    for attempt in record.attempts:
        if attempt.accepted:
            by_client[attempt.client].append(attempt)
    late = collections.defaultdict(list)
    for _, receipt in record.late:
        late[receipt.attempt].append(receipt)
    for client, attempts in by_client.items():
        for index, first in enumerate(attempts):
            for second in attempts[index + 1:]:
                both = max(first.accepted, second.accepted)
                if (first.ended and first.ended < both) or (second.ended and second.ended < both):
                    continue
                yield from two_connections(record, client, first, second, both, late)


def two_connections(record, client, first, second, both, late):
    served = [attempt for attempt in (first, second)
              if any(ping.answered and ping.sent > both for ping in attempt.pings)]
    follows = second.asked > first.accepted
    if len(served) == 2 or (follows and first in served):
        yield Violation("owner", f"connections {first.number} and {second.number} of {client}: "
                        f"{' and '.join(str(attempt.number) for attempt in served)} answered PINGREQ after both were "
                        f"accepted ({both})", (), (client,))
    for receipt in late[first.number] if follows else ():
        message = record.messages.get(receipt.key)
        if message and message.sends[0].at > both:
            yield Violation("owner", f"connection {first.number} of {client} got {receipt.key}, published after "
                            f"connection {second.number} was accepted ({both})", (receipt.key,), (client,))
    if follows and (not first.ended or first.ended.time > both.time + CLOSING):
        yield Violation("owner", f"connection {first.number} of {client} was open {CLOSING} s after connection "
                        f"{second.number} was accepted ({both})", (), (client,))


def sessions(record):
    """A durable session is present from its first CONNACK on; the clients say which attempts were to find one."""
    for attempt in record.attempts:
        if attempt.accepted and attempt.expects is not None and attempt.present != attempt.expects:
            text = "has no session any more" if attempt.expects else "found a session that should not be there"
            yield Violation("session", f"{attempt.client} {text} (connection {attempt.number}, {attempt.accepted})", (),
                            (attempt.client,))


# ---------------------------------------------------------------- retained messages


def retained(record):
    values = collections.defaultdict(list)
    for message in record.messages.values():
        if message.retain:
            values[message.topic].append(message)
    for topic, history in values.items():
        history.sort(key=lambda message: message.number)
        last = last_acknowledged(history)
        for worker, found in record.final.items():
            if found.get(topic, b"") not in acceptable(history, last):
                yield Violation("retained", f"worker {worker} has {text_of(found.get(topic, b''))} for {topic}, "
                                f"and last acknowledged is {last.key if last else 'nothing'}",
                                keys_of(history, found.get(topic, b""), last))
    for worker, found in record.final.items():
        for topic in set(found) - set(values):
            yield Violation("alien", f"worker {worker} has a retained message for {topic}")
    for read in record.reads:
        history = values.get(read.topic, [])
        before = last_acknowledged([message for message in history if message.acked and message.acked < read.asked
                                    and record.host_of(message.acked_on) == read.worker // record.workers])
        number = next((message.number for message in history if message.payload == read.payload
                       and (not before or message.number >= before.number or not message.acked)), None)
        if number is None:
            yield Violation("retained", f"worker {read.worker} sent {text_of(read.payload)} for {read.topic} to a "
                            f"subscription of {read.asked}, after {before.key if before else 'nothing'} was "
                            "acknowledged", keys_of(history, read.payload, before))


def last_acknowledged(history):
    return max((message for message in history if message.acked), key=lambda message: message.number, default=None)


def acceptable(history, last):
    """The last acknowledged value, or one whose acknowledgement never came; nothing (b"") before any."""
    return {last.payload if last else b""} | {message.payload for message in history if not message.acked}


def text_of(payload):
    return payload[:40].decode() if payload else "nothing"


def keys_of(history, payload, last):
    keys = [message.key for message in history if message.payload == payload and payload] + ([last.key] if last else [])
    return tuple(dict.fromkeys(keys))


# ---------------------------------------------------------------- wills


def wills(record):
    watchers = [subscription for subscription in record.subscriptions.values()
                if subscription.acked and matches(subscription.filter, "will/x")]
    for key, will in record.wills.items():
        verdict = will_verdict(record, will)
        for watcher in watchers:
            receipts = [receipt for receipt in record.receipts[watcher.client] if receipt.key == key]
            text = f"will {key} (delay {will.delay}, {'durable' if will.durable else 'not durable'}) for " \
                   f"{watcher.client}: "
            concerned = (key,), (watcher.client, record.attempts[will.attempt].client)
            if verdict == "due" and not receipts:
                yield Violation("will missing", text + "never came", *concerned)
            if verdict == "forbidden" and receipts:
                yield Violation("will unwanted", text + "came", *concerned)
            if will.delay and receipts and receipts[0].at.time < earliest(record, will):
                yield Violation("will early", text + f"came at {receipts[0].at}", *concerned)
            if sum(not receipt.dup for receipt in receipts) > 1:  # a repeat of the same delivery has DUP
                yield Violation("will repeated", text + "came twice", *concerned)


def earliest(record, will):
    """Before this the delay of a will cannot be over."""
    attempt = record.attempts[will.attempt]
    known = (attempt.alive or attempt.asked).time
    return max(known, attempt.ended.time - NOTICED if attempt.ended else known) + will.delay


def will_verdict(record, will):
    """due: it must fire; forbidden: it must not; either."""
    attempt = record.attempts[will.attempt]
    if not attempt.accepted or not attempt.ended:
        return "either"
    if attempt.goodbye and attempt.end == "left":
        return "either" if killed_around(record, attempt) else "forbidden"
    if will.delay == 0:
        return "due"
    return delayed_verdict(record, will, attempt)


def killed_around(record, attempt):
    """Whether its worker was killed so near to the DISCONNECT that it may not have been handled."""
    return any(attempt.served_by in (None, *kill.slots) for kill in record.kills
               if attempt.goodbye.time - SETTLED <= kill.at.time <= attempt.ended.time + SETTLED)


def delayed_verdict(record, will, attempt):
    """Cancelled by a resumption in time; due if nobody came back at all."""
    later = [other for other in record.attempts[attempt.number + 1:] if other.client == attempt.client]
    if not later:
        return "due"
    resumed = [other for other in later if other.accepted and other.accepted.time < earliest(record, will)]
    return "forbidden" if resumed else "either"
