#!/usr/bin/python3
"""Check statements.tsv, the list of every normative statement of MQTT 3.1.1 and 5.0, against the tests.

- every statement of both specifications is listed once;
- every statement that binds a server has a test, or a written reason why not;
- every test in the list exists, and claims the statement with @mqtt311(…) or @mqtt5(…), or, for a C++ test (cpp:NAME),
  there is a TEST_CASE with that name;
- every claim of a test is in the list.

    check_table.py            check; prints what is wrong and ends with 1
    check_table.py --update   write the claims of the Python tests into the list, then check
"""
import re
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
TABLE = HERE / "statements.tsv"
COLUMNS = ["version", "id", "binds", "statement", "tests", "reason"]
COUNTS = {"3.1.1": 141, "5.0": 251}  # numbered statements in Appendix B of each specification


def read_table():
    lines = TABLE.read_text().splitlines()
    assert lines[0].split("\t") == COLUMNS, f"the first line of {TABLE.name} must name the columns {COLUMNS}"
    return [dict(zip(COLUMNS, line.split("\t"))) for line in lines[1:]]


def write_table(rows):
    TABLE.write_text("\n".join("\t".join(row[column] for column in COLUMNS)
                               for row in [dict(zip(COLUMNS, COLUMNS)), *rows]) + "\n")


class Claims:
    """A pytest plugin that notes which test claims which statement."""

    def __init__(self):
        self.by_statement = {}

    def pytest_collection_modifyitems(self, items):
        for item in items:
            test = f"{Path(item.fspath).name}::{item.originalname}"
            for mark in item.iter_markers("conformance"):
                for statement in mark.args[1:]:
                    self.by_statement.setdefault((mark.args[0], statement), set()).add(test)


def collect_claims():
    claims = Claims()
    status = pytest.main([str(HERE), "--collect-only", "-p", "no:cacheprovider", "-p", "no:terminal"],
                         plugins=[claims])
    assert status == 0, "pytest cannot collect the conformance tests"
    return claims.by_statement


def cpp_tests():
    names = set()
    for path in (HERE.parent / "unit").rglob("*.cc"):
        names.update(re.findall(r'TEST_CASE\(\s*"([^"]+)"', path.read_text()))
    return names


def problems(rows, claims, cpp):
    listed = [(row["version"], row["id"]) for row in rows]
    for version, count in COUNTS.items():
        found = sum(1 for one, _ in listed if one == version)
        if found != count:
            yield f"{found} statements of {version} are listed, the specification has {count}"
    for statement in sorted({one for one in listed if listed.count(one) > 1}):
        yield f"{statement} is listed twice"
    for statement in sorted(set(claims) - set(listed)):
        yield f"{sorted(claims[statement])} claim {statement}, which no specification has"
    for row in rows:
        name = f"{row['version']} {row['id']}"
        tests = set(row["tests"].split()) if not row["tests"].startswith("cpp:") else {row["tests"]}
        python, native = ({test for test in tests if test.startswith("cpp:") == kind} for kind in (False, True))
        claimed = claims.get((row["version"], row["id"]), set())
        if row["binds"] not in ("server", "client", "both"):
            yield f"{name} binds {row['binds']!r}"
        if row["binds"] != "client" and not tests and not row["reason"]:
            yield f"{name} binds a server and has neither a test nor a reason: {row['statement']}"
        for test in sorted(python - claimed):
            yield f"{name}: {test} does not exist or does not claim it"
        for test in sorted(claimed - python):
            yield f"{name}: {test} claims it and is not listed (check_table.py --update)"
        for test in native:
            if test[4:] not in cpp:
                yield f"{name}: no TEST_CASE({test[4:]!r})"


def main(arguments):
    rows, claims = read_table(), collect_claims()
    if "--update" in arguments:
        for row in rows:
            if not row["tests"].startswith("cpp:"):
                row["tests"] = " ".join(sorted(claims.get((row["version"], row["id"]), [])))
        write_table(rows)
    found = list(problems(rows, claims, cpp_tests()))
    print("\n".join(found) or f"{len(rows)} statements: every one that binds a server has a test or a reason")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
