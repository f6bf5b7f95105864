"""The crash test as part of the suite, and the proof that its checks can fail."""
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support_py"))

import tamper  # noqa: E402
from crash import unbroken  # noqa: E402

KILLS = int(os.environ.get("MM_CRASH_KILLS", 60))
SECONDS = float(os.environ.get("MM_CRASH_SECONDS", 27))
SEED = int(os.environ.get("MM_SEED", 1))


@pytest.fixture(scope="module")
def calm():
    """The record of a run without kills, which breaks nothing."""
    return unbroken(SEED, 0, 8)[1]


@pytest.mark.parametrize("fault", tamper.FAULTS)
def test_a_fault_is_noticed(calm, fault):
    """Each check can fail: on a record into which what it is to find was put."""
    assert not tamper.unnoticed(calm, fault)


def test_nothing_acknowledged_is_lost_by_kills():
    summary, record = unbroken(SEED, KILLS, SECONDS)
    assert len(record.kills) >= KILLS
    assert summary["acknowledged"] > 1000 and summary["wills"]["due"] > 10, summary
