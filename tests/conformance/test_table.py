"""The list of normative statements and the tests agree."""
import subprocess
import sys
from pathlib import Path


def test_every_statement_that_binds_a_server_has_a_test_or_a_reason():
    check = subprocess.run([sys.executable, str(Path(__file__).with_name("check_table.py"))],
                           capture_output=True, text=True, timeout=120)
    assert check.returncode == 0, check.stdout + check.stderr
