# SPDX-License-Identifier: GPL-2.0-only
"""Runs a suite of commands that need no guest."""

import re
import subprocess
import time
from collections.abc import Iterator

from build import LOGS
from build import log_head
from ktap import Program
from result import Case
from result import failed
from result import passed
from result import skipped
from suite import TOP
from suite import Check
from suite import Suite

_TEST = re.compile(r"^test (.*) \.\.\. (ok|FAILED|ignored)(?:, (.*))?$")
_TOTALS = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;")
_LAST_LINES = 25


def run(suite: Suite) -> Iterator[tuple[str, Case | None]]:
    """Runs the checks one after the other. Their output goes to the log."""
    LOGS.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + suite.timeout
    with (LOGS / f"{suite.name}.log").open("w") as log:
        log.write(log_head())
        for check in suite.checks:
            log.write(f"$ {' '.join(check.command)}\n")
            log.flush()
            output, problem = _run(check, deadline)
            log.write(output)
            log.flush()
            yield from (("", case) for case in _READERS[check.results](check, output, problem))


def _run(check: Check, deadline: float) -> tuple[str, str]:
    """Returns the output of a command, and why it failed, if it did."""
    try:
        done = subprocess.run(
            check.command,
            cwd=TOP,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=max(deadline - time.monotonic(), 1),
        )
    except subprocess.TimeoutExpired as late:
        return (late.stdout or b"").decode(errors="replace"), "not over in the suite's time"
    except OSError as error:
        return "", str(error)
    return done.stdout, f"exit status {done.returncode}" if done.returncode else ""


def _status(check: Check, output: str, problem: str) -> list[Case]:
    if problem:
        return [failed(check.name, f"{problem}: {' '.join(check.command)}\n{_last(output)}")]
    return [passed(check.name)]


def _ktap(check: Check, output: str, problem: str) -> list[Case]:
    program = Program(check.name)
    cases = [case for line in output.splitlines() for case in program.feed(line)]
    return cases + program.end(1 if problem else 0)


def _cargo(check: Check, output: str, problem: str) -> list[Case]:
    cases = []
    totals = [0, 0, 0]
    for line in output.splitlines():
        if match := _TEST.match(line):
            name = f"{check.name}: {match[1]}"
            match match[2]:
                case "ok":
                    cases.append(passed(name))
                case "FAILED":
                    cases.append(failed(name, "see the log"))
                case _:
                    cases.append(skipped(name, match[3] or "ignored without a reason"))
        elif match := _TOTALS.match(line):
            totals = [total + int(number) for total, number in zip(totals, match.groups())]
    seen = [sum(case.outcome == outcome for case in cases) for outcome in ("passed", "failed", "skipped")]
    if seen != totals:
        cases.append(failed(check.name, f"cargo counts {totals} passed, failed, ignored; its lines say {seen}"))
    if problem and not seen[1]:
        cases.append(failed(check.name, f"{problem}\n{_last(output)}"))
    elif not cases:
        cases.append(failed(check.name, "there is no test"))
    return cases


# The parsers of output, by a check's "results".
_READERS = {"status": _status, "ktap": _ktap, "cargo": _cargo}


def _last(output: str) -> str:
    return "\n".join(output.splitlines()[-_LAST_LINES:])
