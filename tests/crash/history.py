"""What is left of a run that broke a contract: the violations, and the history of the messages and clients they name."""
import checks

SHOWN = 40  # violations whose history is written out


def write(directory, world, violations):
    """trace.txt in `directory`, beside the broker's log; its path."""
    path = directory / "trace.txt"
    with open(path, "w") as out:
        print(f"seed {world.seed}, {len(violations)} violations; times are seconds since the start, w0 … are workers,",
              f"#12 is connection 12\nthe start in the logs: {', '.join(map(str, world.reaper.logs()))}\n", file=out)
        for violation in violations:
            print(f"{violation.kind}: {violation.text}", file=out)
        print("\n---- kills", file=out)
        for kill in world.record.kills:
            print(f"{kill.at} {kill.what} {' '.join(f'w{slot}' for slot in kill.slots)} {kill.pid}", file=out)
        for trouble in world.record.troubles:
            print(f"{trouble.begun} Redis away, all in touch again {trouble.over}", file=out)
        for violation in violations[:SHOWN]:
            print(f"\n---- {violation.kind}: {violation.text}", file=out)
            for key in violation.keys:
                of_message(out, world.record, key)
            for client in violation.clients:
                of_client(out, world.record, client)
    return path


def where(record, number):
    attempt = record.attempts[number]
    real = "?" if attempt.served_by is None else attempt.served_by
    return f"#{number} of {attempt.client} on w{real}" + (f" (port of w{attempt.worker})" if real != attempt.worker else "")


def of_message(out, record, key):
    if key in record.wills:
        will = record.wills[key]
        print(f"  {key}: will, QoS {will.qos}, delay {will.delay}, of {where(record, will.attempt)}, which is judged: "
              f"{checks.will_verdict(record, will)}", file=out)
    elif key in record.messages:
        message = record.messages[key]
        print(f"  {key}: {message.topic}, QoS {message.qos}{', retained' * message.retain}, {len(message.payload)} bytes",
              file=out)
        for send in message.sends:
            print(f"    {send.at} sent{' DUP' * send.dup} by {where(record, send.attempt)}", file=out)
        answer = f"refused with {message.refused:#x}" if message.refused else "never acknowledged"
        print(f"    {message.acked} acknowledged" if message.acked else f"    {answer}", file=out)
    for client, receipts in record.receipts.items():
        for receipt in receipts:
            if receipt.key == key:
                print(f"    {receipt.at} came to {where(record, receipt.attempt)}, QoS {receipt.qos}, packet id "
                      f"{receipt.packet_id}{', DUP' * receipt.dup}{'' if receipt.delivered else ', filtered'}", file=out)
    for client, receipt in record.late:
        if receipt.key == key:
            print(f"    {receipt.at} came to {where(record, receipt.attempt)}, which was taken over", file=out)


def of_client(out, record, client):
    subscription = record.subscriptions.get(client)
    if subscription:
        print(f"  {client}: {subscription.filter} at QoS {subscription.qos} {subscription.group}, SUBACK "
              f"{subscription.acked}", file=out)
    for attempt in record.attempts:
        if attempt.client == client:
            print(f"    {where(record, attempt.number)}, port {attempt.local_port}: CONNECT {attempt.asked}, CONNACK "
                  f"{attempt.accepted}{' (session)' * attempt.present}, last packet {attempt.alive}, {attempt.end} "
                  f"{attempt.ended}" + (f", DISCONNECT {attempt.reason:#x}" if attempt.reason else ""), file=out)
