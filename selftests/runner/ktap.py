# SPDX-License-Identifier: GPL-2.0-only
"""Reads the KTAP output of a test program. There must be a plan, and as many results as it says."""

import re
from dataclasses import dataclass

from result import Case
from result import failed
from result import passed
from result import skipped

_VERSION = re.compile(r"^( *)(?:# )?K?TAP version \d+$")
_PLAN = re.compile(r"^( *)1\.\.(\d+)(?: # SKIP ?(.*))?$")
# A "#" in the name of a test is a directive only if one of these words follows. kselftest.h prints the
# name of a skipped test behind the directive.
_DIRECTIVE = r"# *(SKIP|TODO|XFAIL|XPASS|TIMEOUT|ERROR)\b ?(.*)"
_RESULT = re.compile(
    rf"^( *)(not )?ok (\d+)(?: -)?(?: (?!# *SKIP\b)(.*?))?(?: {_DIRECTIVE})?$",
    re.IGNORECASE,
)
_BAIL = re.compile(r"^ *Bail out!(.*)$")

# kselftest's exit statuses.
_SKIP_STATUS = 4
# How many lines of a program's output are quoted with a failed test.
_CONTEXT = 12


@dataclass
class _Level:
    """The results at one indentation. A result of the level above sums them up."""

    indent: int
    planned: int | None = None
    seen: int = 0
    failures: int = 0


class Program:
    """The output of a program, read line by line."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._levels = [_Level(0)]
        self._context: list[str] = []
        self._any_failed = False
        self._skipped_whole = False

    def feed(self, line: str) -> list[Case]:
        """Reads a line. Returns the tests that it completes."""
        if match := _VERSION.match(line):
            return self._enter(len(match[1]))
        if match := _PLAN.match(line):
            cases = self._enter(len(match[1]))
            self._levels[-1].planned = int(match[2])
            if match[2] == "0" and match[3] is not None:
                self._skipped_whole = True
                cases.append(skipped(self.name, match[3] or "no reason given"))
            return cases
        if match := _RESULT.match(line):
            return self._result(match)
        if match := _BAIL.match(line):
            return [self._fail(self.name, f"the program gave up: {match[1].strip()}")]
        if line.strip():
            self._context = [*self._context, line.strip()][-_CONTEXT:]
        return []

    def end(self, status: int) -> list[Case]:
        """Returns the results of the program's exit, whose status the shell saw."""
        cases = [case for level in reversed(self._levels) for case in self._close(level)]
        if status > 128:
            cases.append(self._fail(self.name, f"killed by signal {status - 128}\n{self._said()}"))
        elif status == _SKIP_STATUS and self._skipped_whole:
            pass
        elif status and not self._any_failed:
            cases.append(self._fail(self.name, f"exit status {status} without a failed test\n{self._said()}"))
        return cases

    def _enter(self, indent: int) -> list[Case]:
        """Closes the levels with a larger indentation, and opens this one if it is new."""
        cases = []
        while self._levels[-1].indent > indent:
            cases += self._close(self._levels.pop())
        if self._levels[-1].indent < indent:
            self._levels.append(_Level(indent))
        return cases

    def _result(self, match: re.Match[str]) -> list[Case]:
        inner = self._levels[-1]
        summary = inner.indent > len(match[1])
        cases = self._enter(len(match[1]))
        level = self._levels[-1]
        level.seen += 1
        name = f"{self.name}: {match[4] or 'test ' + match[3]}"
        directive = (match[5] or "").upper()
        if int(match[3]) != level.seen:
            cases.append(self._fail(self.name, f"result number {match[3]} came where {level.seen} was due"))
            level.seen = int(match[3])
        if match[2]:
            level.failures += 1
            if not summary or not inner.failures:
                cases.append(self._fail(name, self._said()))
        elif directive in ("SKIP", "XFAIL", "TODO"):
            cases.append(skipped(name, match[6] or f"{directive} without a reason"))
        elif not summary:
            cases.append(passed(name))
        self._context = []
        return cases

    def _close(self, level: _Level) -> list[Case]:
        if level.planned is None:
            return [self._fail(self.name, f"no plan line\n{self._said()}")]
        if level.planned != level.seen:
            return [self._fail(self.name, f"{level.planned} tests planned, {level.seen} reported\n{self._said()}")]
        if level.planned == 0 and not self._skipped_whole:
            return [self._fail(self.name, "a plan of no tests")]
        return []

    def _fail(self, name: str, detail: str) -> Case:
        self._any_failed = True
        return failed(name, detail.rstrip())

    def _said(self) -> str:
        return "\n".join(line for line in self._context if not re.match(r"#\s+(RUN|OK) ", line))
