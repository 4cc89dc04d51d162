# SPDX-License-Identifier: GPL-2.0-only
"""The results of `make bench`, as a table and as JSON."""

import json
import statistics
from dataclasses import asdict
from dataclasses import dataclass
from pathlib import Path

import report

_MODULES = ("c", "rust")
# The format of the lines is described in selftests/guest/bench.c.
_MARK = "sample "


@dataclass(frozen=True)
class Row:
    """A measurement of both modules: the medians, and how much the samples vary."""

    row: str
    c: float
    rust: float
    # rust / c, or None if the C module's median is 0.
    ratio: float | None
    unit: str
    # The larger interquartile range of both modules, relative to the median.
    spread: float


class Samples:
    """The samples of a run, read line by line."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], dict[str, list[float]]] = {}

    def feed(self, line: str) -> None:
        if not line.startswith(_MARK):
            return
        module, value, unit, row = line.removeprefix(_MARK).split(" ", 3)
        self._rows.setdefault((row, unit), {}).setdefault(module, []).append(float(value))

    def rows(self) -> list[Row]:
        """Returns the rows in the order of the run, without those that only one module has."""
        rows = []
        for (row, unit), modules in self._rows.items():
            if set(modules) != set(_MODULES):
                continue
            c, rust = (statistics.median(modules[module]) for module in _MODULES)
            spread = max(_spread(modules[module]) for module in _MODULES)
            rows.append(Row(row, c, rust, rust / c if c > 0 else None, unit, spread))
        return rows


def save(rows: list[Row], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def show(rows: list[Row]) -> None:
    """Returns the table as text."""
    cells = [_HEAD, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells)]
    for name, *rest in cells:
        report.say("  ".join([name.ljust(widths[0]), *map(str.rjust, rest, widths[1:])]))


# For each unit the suffixes and their values, from the largest down.
_SCALES = {
    "ns": [(" ms", 1e6), (" us", 1e3), (" ns", 1)],
    "instructions": [(" M", 1e6), (" k", 1e3), ("", 1)],
    "bytes": [(" MiB", 2**20), (" KiB", 2**10), (" B", 1)],
}

_HEAD = ["row", "C", "Rust", "Rust / C", "spread"]


def _cells(row: Row) -> list[str]:
    ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
    spread = f"{row.spread:.0%}" if row.spread else ""
    return [row.row, _amount(row.c, row.unit), _amount(row.rust, row.unit), ratio, spread]


def _amount(value: float, unit: str) -> str:
    """Returns a number with a suffix."""
    scales = _SCALES[unit]
    for name, scale in scales:
        if abs(value) >= scale:
            return f"{value / scale:.{1 if abs(value) < 100 * scale and scale > 1 else 0}f}{name}"
    return f"{value:.0f}{scales[-1][0]}"


def _quartiles(values: list[float]) -> list[float]:
    return statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3


def _spread(values: list[float]) -> float:
    low, middle, high = _quartiles(values)
    return (high - low) / middle if middle else 0.0
