"""The crash test on a cluster as part of the suite."""
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support_py"))

from crash import unbroken  # noqa: E402

KILLS = int(os.environ.get("MM_CRASH_KILLS", 8))
SECONDS = float(os.environ.get("MM_CRASH_SECONDS", 8))
SEED = int(os.environ.get("MM_SEED", 23))  # kills of every kind


def test_nothing_acknowledged_is_lost_by_kills_in_a_cluster():
    summary, record = unbroken(SEED, KILLS, SECONDS, hosts=2)
    assert {"host for long", "redis"} <= {kill.what for kill in record.kills}
    assert summary["acknowledged"] > 25 * SECONDS and summary["wills"]["due"] > 5, summary
