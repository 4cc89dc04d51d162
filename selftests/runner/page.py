# SPDX-License-Identifier: GPL-2.0-only
"""Writes the numbers of `make bench` into a page of the documentation.

Where the page has a comment of one of these forms, what is between it and the next comment `.. numbers end` is
replaced. It stays as it is if the file of one of its runs is not there. NAME is a run, whose file is NAME.json. A line
of the comment that is indented by more continues the one before.

  .. numbers run
     NAME
     ...
    A list of the runs: when, of which commit, on which kernel, by which tools.

  .. numbers table NAME COLUMN... [NAME COLUMN...]
     PATTERN
     ...
    A table of those rows of the first run that match the shell patterns, in the order of the patterns. A column is c,
    rust, ratio, spread, floor, floor_ratio, type1, type1_ratio, in_tree or in_tree_ratio.

  .. numbers aims [TITLE TITLE TITLE]
     WHAT | AIM | NAME: TERM; TERM | NAME: TERM | (NOTE)
     ...
    A table of what was aimed at and what was measured. A term is a row, whose ratio is shown, or ROW@COLUMN, or
    several that are divided and multiplied from left to right: ROW@COLUMN / ROW@COLUMN * ROW@COLUMN, where the column
    is rust if it is not given.
"""

import json
import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import bench
from bench import Row
from suite import Mistake

_BLOCK = re.compile(r"^\.\. numbers (?!end\b)(\w+)(.*)\n((?:   .*\n)*)\n(?:.*\n)*?(?=\.\. numbers end\n)", re.M)
_TITLES = {
    "c": "C",
    "rust": "Rust",
    "ratio": "Rust / C",
    "floor_ratio": "Rust / floor",
    "type1_ratio": "type1 / C",
    "in_tree_ratio": "in_tree / C",
}


class NoRun(Exception):
    """There is no file of that run."""


class Runs:
    """The runs, whose files are in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read = cache(self._read_run)

    def _read_run(self, name: str) -> tuple[dict[str, str], dict[str, Row]]:
        path = self._folder / f"{name}.json"
        if not path.exists():
            raise NoRun(name)
        content = json.loads(path.read_text())
        return content["run"], {row["row"]: Row(**row) for row in content["rows"]}

    def about(self, name: str) -> dict[str, str]:
        return self._read(name)[0]

    def rows(self, name: str) -> dict[str, Row]:
        return self._read(name)[1]

    def row(self, name: str, row: str) -> Row:
        rows = self.rows(name)
        if row not in rows:
            raise Mistake(f"the run {name} has no row '{row}'")
        return rows[row]


def fill(path: Path, folder: Path) -> tuple[int, set[str]]:
    """Fills the page from the runs in the folder. Returns how much is filled, and the runs that are not there."""
    runs = Runs(folder)
    filled_in, missing = 0, set()

    def filled(match: re.Match[str]) -> str:
        nonlocal filled_in
        kind, rest, lines = match[1], match[2], _joined(match[3])
        if kind not in _KINDS:
            raise Mistake(f"{path.name}: numbers {kind}: there is no such form")
        try:
            numbers = _KINDS[kind](runs, rest.split(), lines)
        except NoRun as missed:
            missing.add(str(missed))
            return match[0]
        filled_in += 1
        return f".. numbers {kind}{rest}\n{match[3]}\n{numbers}\n"

    path.write_text(_BLOCK.sub(filled, path.read_text()))
    return filled_in, missing


def _joined(text: str) -> list[str]:
    """Returns the lines of a comment. One that is indented more continues the one before."""
    return [line.strip() for line in re.sub(r"\n {5,}", " ", text).splitlines()]


def _about(runs: Runs, _: list[str], names: list[str]) -> str:
    lines = []
    for name in names:
        run = runs.about(name)
        rows = "" if run["pattern"] == "*" else f"\n  rows ``{run['pattern']}``,"
        lines.append(f"- ``{name}``: {run['date']}, commit {run['commit']}, kernel ``{run['flavour']}``,{rows}\n")
        lines.append(f"  {run['tools']}.\n")
    return "".join(lines)


def _table(runs: Runs, words: list[str], patterns: list[str]) -> str:
    columns: list[tuple[str, str]] = []
    name = first = words[0]
    for word in words:
        if word in Row.__dataclass_fields__:
            columns.append((name, word))
        else:
            name = word
    chosen = [row for pattern in patterns for row in runs.rows(first) if fnmatchcase(row, pattern)]
    if not chosen:
        raise Mistake(f"the run {first} has none of the rows {patterns}")
    heads = [["row", *(_TITLES.get(column, column) for _, column in columns)]]
    if len({name for name, _ in columns}) > 1:
        heads.append(["", *(_kind(runs, name) for name, _ in columns)])
    # A row that patterns name twice is there once.
    body = [[row, *(_cell(runs.rows(name).get(row), column) for name, column in columns)] for row in dict.fromkeys(chosen)]
    return _text(heads, body)


def _kind(runs: Runs, name: str) -> str:
    """Returns what tells the columns of a run from those of another."""
    flavour = runs.about(name)["flavour"]
    unit = next(iter(runs.rows(name).values())).unit
    return flavour if flavour != "plain" else "time" if unit == "ns" else "instr."


def _cell(row: Row | None, column: str) -> str:
    if row is None:
        return "-"
    value = getattr(row, column)
    if column == "spread":
        return f"{value:.0%}"
    return bench.shown(value) if "ratio" in column else bench.shown_amount(value, row.unit)


def _aims(runs: Runs, titles: list[str], lines: list[str]) -> str:
    body = []
    for line in lines:
        what, aim, *measured = (part.strip() for part in line.split(" | "))
        note = measured.pop() if measured[-1].startswith("(") else ""
        body.append([what, aim, "; ".join(_measured(runs, part) for part in measured) + (f" {note}" if note else "")])
    return _text([titles or ["row", "aim", "measured"]], body)


def _measured(runs: Runs, part: str) -> str:
    name, _, terms = part.partition(": ")
    shown = [_term(runs, name, term) for term in terms.split("; ")]
    first = re.split(r"@| [/*] ", terms.split("; ")[0])[0]
    return ", ".join(shown) + (" (t)" if runs.row(name, first).unit == "ns" else "")


def _term(runs: Runs, name: str, term: str) -> str:
    """Returns the value of a term."""
    first, *rest = re.split(r" ([/*]) ", term)
    if not rest:
        row, _, column = first.partition("@")
        return _cell(runs.row(name, row), column or "ratio")
    value = _operand(runs, name, first)
    for sign, operand in zip(rest[::2], rest[1::2]):
        other = _operand(runs, name, operand)
        if not other:
            raise Mistake(f"the run {name}: '{operand}' is 0")
        value = value / other if sign == "/" else value * other
    return bench.shown(value)


def _operand(runs: Runs, name: str, operand: str) -> float:
    row, _, column = operand.partition("@")
    value = getattr(runs.row(name, row), column or "rust")
    if value is None:
        raise Mistake(f"the run {name}: '{operand}' was not measured")
    return value


def _text(heads: list[list[str]], body: list[list[str]]) -> str:
    """Returns a simple table of reStructuredText."""
    widths = [max(map(len, column)) for column in zip(*heads, *body)]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(map(str.ljust, cells, widths)).rstrip() for cells in (*heads, *body)]
    # An empty first cell would continue the line above it.
    lines = [f"\\ {line[2:]}" if line.startswith("  ") else line for line in lines]
    return "\n".join([rule, *lines[: len(heads)], rule, *lines[len(heads) :], rule]) + "\n"


_KINDS: dict[str, Callable[[Runs, list[str], list[str]], str]] = {"run": _about, "table": _table, "aims": _aims}
