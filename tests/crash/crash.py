#!/usr/bin/python3
"""The crash test: clients of all kinds on four workers, while workers and the master are killed with SIGKILL; then what
the contracts promise of acknowledged messages, sessions, retained messages and wills is checked. See README.md.

Prints one line of JSON a run; exits with 1 if a run broke a contract, and says where its trace and logs are."""
import argparse
import asyncio
import collections
import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support_py"))

import checks  # noqa: E402
import history  # noqa: E402
import tamper  # noqa: E402
from world import HOST_WORKERS, WORKERS, World  # noqa: E402


def run_once(seed, kills, seconds, fault=None, **options):
    """One run; (summary, violations, record). What it leaves behind stays if a contract was broken."""
    worlds = []

    async def run():
        worlds.append(World(seed, kills, seconds, **options))
        await worlds[0].run()

    try:
        asyncio.run(run())
    finally:
        for world in worlds:
            world.reaper.abandon()
    if world.failure:
        raise RuntimeError(f"the test failed by itself, {world.reaper.directory} is kept\n{world.failure}")
    if fault:
        world.record = tamper.tampered(world.record, fault)
    violations = checks.judge(world.record)
    summary = world.summary(violations)
    if violations:
        summary["trace"] = str(history.write(world.reaper.directory, world, violations))
    else:
        world.reaper.remove()
    return summary, violations, world.record


def unbroken(seed, kills, seconds, **options):
    """(summary, record) of a run that must break no contract."""
    summary, violations, record = run_once(seed, kills, seconds, **options)
    assert not violations, f"MM_SEED={seed}: {summary}\n" + "\n".join(f"{v.kind}: {v.text}" for v in violations[:40])
    return summary, record


def show(violations, most=8):
    """Some of each kind."""
    shown = collections.Counter()
    for violation in violations:
        shown[violation.kind] += 1
        if shown[violation.kind] <= most:
            print(f"  {violation.kind}: {violation.text}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--seed", type=int, default=int(time.time()) % 1_000_000)
    parser.add_argument("--kills", type=int, default=100, help="kills in a run")
    parser.add_argument("--seconds", type=float, help="of traffic with kills; else half a second a kill, at least 10")
    parser.add_argument("--runs", type=int, default=1, help="runs, with seeds that follow each other")
    parser.add_argument("--hosts", type=int, default=1, help="more than one: a cluster, whose hosts and Redis are killed, too")
    parser.add_argument("--workers", type=int, help=f"of each host; else {WORKERS}, in a cluster {HOST_WORKERS}")
    parser.add_argument("--rate", type=float, default=1.0, help="messages, in times of the usual number")
    parser.add_argument("--sync", choices=["process", "always"], help="store.sync; else the broker's default")
    parser.add_argument("--cut", action="store_true", help="cut the connections of a worker instead of killing it")
    parser.add_argument("--break", dest="fault", choices=tamper.FAULTS, help="put this fault into the record")
    arguments = parser.parse_args()
    seconds = arguments.seconds or max(10.0, arguments.kills / 2)
    config = {"store": {"sync": arguments.sync}} if arguments.sync else {}
    broken = 0
    for seed in range(arguments.seed, arguments.seed + arguments.runs):
        summary, violations, _ = run_once(seed, arguments.kills, seconds, arguments.fault, workers=arguments.workers,
                                          hosts=arguments.hosts, rate=arguments.rate, config=config, cut=arguments.cut)
        print(json.dumps(summary), flush=True)
        show(violations)
        broken += bool(violations)
    return 1 if broken else 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    sys.exit(main())
