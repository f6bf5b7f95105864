"""Ports of tests that run at the same time."""
import subprocess
import sys

from mm.broker import ROOT, free_ports

OTHER = "import sys; sys.path.insert(0, sys.argv[1]); from mm.broker import reserve; print(reserve(int(sys.argv[2])))"


def test_port_is_kept_from_other_processes_until_this_one_ends():
    """Also while nobody listens there."""
    def other_gets(port):
        done = subprocess.run([sys.executable, "-c", OTHER, str(ROOT / "tests/support_py"), str(port)], capture_output=True,
                              text=True, timeout=60, check=True)
        return done.stdout.strip()
    ports = free_ports(2)
    assert ports[0] != ports[1] and other_gets(ports[0]) == "False"
    assert other_gets(1) == "True" and other_gets(1) == "True"  # the one before has ended
