# SPDX-License-Identifier: GPL-2.0-only
"""The results of `make bench`, as a table and as JSON."""

import json
import statistics
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path

import report

_MODULES = ("c", "rust")
# What only some benchmarks have: the Rust module without its native backend, VFIO's own container, and the Rust
# module without tracepoints.
_MORE = ("in_tree", "type1", "untraced")
# The rows whose sum is the floor of another one, by the ends of the names. What is before the end is the same, unless
# the row has all of its name here.
_FLOORS = {
    ": map": (": pin alone", ": iommu_map() alone"),
    ": unmap": (": unpin alone", ": iommu_unmap() alone"),
    "one page without a domain: map": ("the ioctl alone: IOAS_MAP, unknown flag",),
    "one page without a domain: unmap": ("the ioctl alone: IOAS_UNMAP, unknown IOAS",),
}
# The format of the lines is described in selftests/guest/bench.c.
_MARK = "sample "


@dataclass(frozen=True)
class Row:
    """A measurement of both modules: the medians, and how much the samples vary."""

    row: str
    # None if the run does not measure the C module.
    c: float | None
    rust: float
    # rust / c, or None if the C module was not measured or its median is 0.
    ratio: float | None
    unit: str
    # The largest interquartile range of the modules that are compared, relative to the median.
    spread: float
    # The Rust module without its native backend, and what that takes relative to C.
    in_tree: float | None = None
    in_tree_ratio: float | None = None
    # VFIO's type1 container, likewise.
    type1: float | None = None
    type1_ratio: float | None = None
    # The Rust module without tracepoints, likewise.
    untraced: float | None = None
    untraced_ratio: float | None = None
    # What the kernel's functions that the Rust module calls take alone, if the run has measured that, and what the
    # module takes relative to it.
    floor: float | None = None
    floor_ratio: float | None = None


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
        """Returns the rows in the order of the run, without those that a module of the run lacks."""
        rows = []
        measured = {module for modules in self._rows.values() for module in modules} | {"rust"}
        for (row, unit), modules in self._rows.items():
            if not measured & set(_MODULES) <= set(modules):
                continue
            c = statistics.median(modules["c"]) if "c" in modules else None
            rust = statistics.median(modules["rust"])
            compared = [module for module in (*_MODULES, "untraced") if module in modules]
            spread = max(_spread(modules[module]) for module in compared)
            more = {name: statistics.median(modules[name]) for name in _MORE if name in modules}
            ratios = {f"{name}_ratio": _ratio(value, c) for name, value in more.items()}
            rows.append(Row(row, c, rust, _ratio(rust, c), unit, spread, **more, **ratios))
        known = {row.row: row for row in rows}
        return [_with_floor(row, known) for row in rows]


def _with_floor(row: Row, known: dict[str, Row]) -> Row:
    for end, parts in _FLOORS.items():
        if row.row.endswith(end):
            below = [known.get(row.row.removesuffix(end) + part) for part in parts]
            floor = sum(part.rust for part in below if part)
            if all(below) and floor > 0:
                return replace(row, floor=floor, floor_ratio=row.rust / floor)
    return row


def _ratio(value: float | None, c: float | None) -> float | None:
    return value / c if value is not None and c is not None and c > 0 else None


def save(rows: list[Row], path: Path, /, **run: str) -> None:
    """Writes the rows, and what there is to know about the run, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"run": run, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")


def show(rows: list[Row]) -> None:
    """Returns the table as text."""
    more = [name for name in (*_MORE, "floor") if any(getattr(row, name) is not None for row in rows)]
    head = [title for name in more for title in (name, _COMPARED.get(name, f"{name} / C"))]
    cells = [[*_HEAD, *head], *([*_cells(row), *_more_cells(row, more)] for row in rows)]
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

# How a column is compared, if not with C.
_COMPARED = {"untraced": "tracepoints", "floor": "Rust / floor"}


def _cells(row: Row) -> list[str]:
    spread = f"{row.spread:.0%}" if row.spread else ""
    return [row.row, shown_amount(row.c, row.unit), shown_amount(row.rust, row.unit), shown(row.ratio), spread]


def _more_cells(row: Row, names: list[str]) -> list[str]:
    cells = []
    for name in names:
        value = getattr(row, name)
        cells.append(shown_amount(value, row.unit))
        cells.append(_tracepoints(row) if name == "untraced" else shown(getattr(row, f"{name}_ratio")))
    return cells


def _tracepoints(row: Row) -> str:
    """Returns what tracepoints cost: the number of instructions, or by which factor it takes longer."""
    if row.untraced is None:
        return "-"
    if row.unit == "instructions":
        return f"{row.rust - row.untraced:+.0f}"
    return shown(_ratio(row.rust, row.untraced))


def shown(ratio: float | None) -> str:
    """Returns a ratio as it is in tables."""
    return "-" if ratio is None else f"{ratio:.2f}"


def shown_amount(value: float | None, unit: str) -> str:
    """Returns a number with a suffix."""
    if value is None:
        return "-"
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
