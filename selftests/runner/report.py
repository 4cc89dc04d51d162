# SPDX-License-Identifier: GPL-2.0-only
"""What a person sees of the tests."""

import sys

from result import FAILED
from result import PASSED
from result import SKIPPED
from result import Case
from result import SuiteResult
from suite import TOP

_COLOURS = {PASSED: "32", FAILED: "1;31", SKIPPED: "33"}
_WORDS = {PASSED: "ok", FAILED: "FAIL", SKIPPED: "skip"}


def say(text: str = "") -> None:
    print(text, flush=True)


def case(result: Case) -> None:
    """One finished test."""
    word = f"{_WORDS[result.outcome]:4}"
    if sys.stdout.isatty():
        word = f"\033[{_COLOURS[result.outcome]}m{word}\033[0m"
    reason = f"  ({result.detail.splitlines()[0]})" if result.outcome != PASSED and result.detail else ""
    say(f"  {word}  {result.name}{reason}")


class Progress:
    """Shows a suite while it runs. What a program passed is summed up in a line, since it may be a
    thousand tests; whatever else happens has a line of its own."""

    def __init__(self) -> None:
        self._program = ""
        self._passed = 0

    def case(self, result: Case) -> None:
        program, colon, _ = result.name.partition(": ")
        if program != self._program:
            self.end()
        if result.outcome != PASSED or not colon or program == "guest":
            self._clear()
            case(result)
            return
        self._program = program
        self._passed += 1
        if sys.stdout.isatty():
            print(f"\r\033[K  ...   {result.name:.70}", end="", flush=True)

    def end(self) -> None:
        """The program, or the suite, is over."""
        if self._passed:
            self._clear()
            case(Case(f"{self._program}: {self._passed} tests", PASSED))
        self._program = ""
        self._passed = 0

    def _clear(self) -> None:
        if sys.stdout.isatty():
            print("\r\033[K", end="")


def failures(results: list[SuiteResult], module: str) -> None:
    """All that failed, with why, where the log is and how to go on."""
    for result in results:
        wrong = [case for case in result.cases if case.outcome == FAILED]
        if not wrong:
            continue
        say()
        say(f"{result.name}: {len(wrong)} failed")
        for case in wrong:
            say(f"  FAIL  {case.name}")
            for line in case.detail.splitlines():
                say(f"      | {line}")
        if result.log.exists():
            say(f"  the whole log:  {result.log.relative_to(TOP)}")
        choice = "" if module == "rust" else f" MODULE={module}"
        say(f"  run it again:   make test SUITES={result.name}{choice}")


def table(results: list[SuiteResult]) -> None:
    """One line a suite, and the totals as the last line."""
    width = max([len(result.name) for result in results] + [5])
    say()
    say(f"{'suite':{width}}  passed  failed  skipped  seconds")
    for result in results:
        counts = [result.count(outcome) for outcome in (PASSED, FAILED, SKIPPED)]
        say(f"{result.name:{width}}  {counts[0]:6}  {counts[1]:6}  {counts[2]:7}  {result.seconds:7.0f}")
    totals = [sum(result.count(outcome) for result in results) for outcome in (PASSED, FAILED, SKIPPED)]
    say()
    say(f"{totals[0]} passed, {totals[1]} failed, {totals[2]} skipped")
