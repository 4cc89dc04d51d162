# SPDX-License-Identifier: GPL-2.0-only
"""The outcome of one test, and of one suite."""

from dataclasses import dataclass, field
from pathlib import Path

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True)
class Case:
    """One test that counts in the totals."""

    name: str
    outcome: str
    # Why it failed or was skipped, in one or more lines.
    detail: str = ""


def passed(name: str) -> Case:
    return Case(name, PASSED)


def failed(name: str, detail: str) -> Case:
    return Case(name, FAILED, detail)


def skipped(name: str, detail: str) -> Case:
    return Case(name, SKIPPED, detail)


@dataclass
class SuiteResult:
    """The results of a suite."""

    name: str
    log: Path
    cases: list[Case] = field(default_factory=list)
    seconds: float = 0.0

    def count(self, outcome: str) -> int:
        return sum(case.outcome == outcome for case in self.cases)
