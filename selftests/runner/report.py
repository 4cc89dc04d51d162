# SPDX-License-Identifier: GPL-2.0-only
"""Prints the results of tests."""

import sys
from collections.abc import Hashable
from dataclasses import dataclass
from dataclasses import field

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
    """Prints one finished test."""
    word = f"{_WORDS[result.outcome]:4}"
    if sys.stdout.isatty():
        word = f"\033[{_COLOURS[result.outcome]}m{word}\033[0m"
    reason = f"  ({result.detail.splitlines()[0]})" if result.outcome != PASSED and result.detail else ""
    say(f"  {word}  {result.name}{reason}")


def building(name: str) -> None:
    """Prints what is being built, on a line that later output overwrites; without a name removes it."""
    if sys.stdout.isatty():
        print("\r\033[K" + (f"  building what {name} needs\r" if name else ""), end="", flush=True)


class Progress:
    """Prints a suite while it runs. The tests that a program passed are summed up in a line, since there may
    be a thousand; every other result has a line of its own."""

    def __init__(self) -> None:
        self._program = ""
        self._passed = 0

    def case(self, result: Case, beside: str = "") -> None:
        """Takes the result of a test. `beside` are the suites that run at the same time."""
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
            print(f"\r\033[K  ...   {result.name:.50}{beside:.20}", end="", flush=True)

    def end(self) -> None:
        """Prints the sum of a program's tests."""
        if self._passed:
            self._clear()
            case(Case(f"{self._program}: {self._passed} tests", PASSED))
        self._program = ""
        self._passed = 0

    def _clear(self) -> None:
        if sys.stdout.isatty():
            print("\r\033[K", end="")


@dataclass
class _Block:
    """A suite that was started."""

    title: str
    # The lines that are not printed yet.
    cases: list[Case] = field(default_factory=list)
    ended: bool = False


class Blocks:
    """Prints suites that run at the same time, a block of lines each, in the order in which they were started:
    the first one as it runs, each of the others when the one before it is finished."""

    def __init__(self) -> None:
        self._blocks: dict[Hashable, _Block] = {}
        self._progress = Progress()

    def begin(self, suite: Hashable, title: str) -> None:
        self._blocks[suite] = _Block(title)
        if self._is_first(suite):
            say(title)

    def case(self, suite: Hashable, result: Case) -> None:
        if not self._is_first(suite):
            self._blocks[suite].cases.append(result)
            return
        others = [block.title.partition(":")[0] for block in self._blocks.values() if not block.ended][1:]
        self._progress.case(result, f"  and {', '.join(others)}" if others else "")

    def end(self, suite: Hashable) -> None:
        self._blocks[suite].ended = True
        while self._blocks:
            first = next(iter(self._blocks))
            block = self._blocks[first]
            for result in block.cases:
                self._progress.case(result)
            block.cases.clear()
            if not block.ended:
                break
            self._progress.end()
            del self._blocks[first]
            if self._blocks:
                say(next(iter(self._blocks.values())).title)

    def _is_first(self, suite: Hashable) -> bool:
        return next(iter(self._blocks)) == suite


def failures(results: list[SuiteResult], module: str) -> None:
    """Prints each failure with its reason, its log, and the command that runs it again."""
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


def table(results: list[SuiteResult], seconds: float) -> None:
    """Prints a line for each suite, the time of all together, and the totals as the last line."""
    width = max([len(result.name) for result in results] + [6])
    say()
    say(f"{'suite':{width}}  passed  failed  skipped  seconds")
    for result in results:
        counts = [result.count(outcome) for outcome in (PASSED, FAILED, SKIPPED)]
        say(f"{result.name:{width}}  {counts[0]:6}  {counts[1]:6}  {counts[2]:7}  {result.seconds:7.0f}")
    say(f"{'in all':{width}}  {'':24}  {seconds:7.0f}")
    totals = [sum(result.count(outcome) for result in results) for outcome in (PASSED, FAILED, SKIPPED)]
    say()
    say(f"{totals[0]} passed, {totals[1]} failed, {totals[2]} skipped")
