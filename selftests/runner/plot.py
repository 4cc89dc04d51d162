# SPDX-License-Identifier: GPL-2.0-only
"""The ratios and the latencies of `make bench` as pictures: SVG files, which any browser shows."""

import math
from html import escape
from pathlib import Path

from bench import Row

# What the names of rows have that say how long something waits.
_WAITS = ("map + unmap, ", "SIGKILL")
# In pixels.
_NAMES = 420
_DECADE = 160
_LINE = 18
_TOP = 40
# The powers of ten of the ratio at both ends of the axis.
_FIRST, _LAST = -3, 1
# Those of nanoseconds: from a microsecond to 100 seconds.
_SHORTEST, _LONGEST = 3, 11
_SECONDS = {3: "1 us", 4: "10 us", 5: "100 us", 6: "1 ms", 7: "10 ms", 8: "100 ms", 9: "1 s", 10: "10 s", 11: "100 s"}
_STYLE = "text { font: 12px sans-serif } .worse { fill: #c44 } .better { fill: #48a } line { stroke: #999 }"


def _place(value: float, first: int, last: int) -> float:
    """Returns where a value is on an axis from one power of ten to another, which is logarithmic."""
    power = math.log10(value) if value > 0 else first
    return _NAMES + _DECADE * (min(max(power, first), last) - first)


def _x(ratio: float) -> float:
    return _place(ratio, _FIRST, _LAST)


def _bar(row: Row, ratio: float, y: int) -> str:
    begin, end = sorted((_x(1), _x(ratio)))
    kind = "worse" if ratio > 1 else "better"
    return (
        f'<text x="{_NAMES - 8}" y="{y + 13}" text-anchor="end">{escape(row.row)}</text>'
        f'<rect class="{kind}" x="{begin:.1f}" y="{y + 3}" width="{max(end - begin, 1):.1f}" height="{_LINE - 6}"/>'
        f'<text x="{end + 6:.1f}" y="{y + 13}">{ratio:.2f}</text>'
    )


def _axis(x: float, height: int, name: str) -> str:
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 6}" y2="{height}"/>'
        f'<text x="{x:.1f}" y="{_TOP - 12}" text-anchor="middle">{name}</text>'
    )


def _picture(width: float, height: int, title: str, parts: list[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height + 10}">'
    return "\n".join([head, f"<style>{_STYLE}</style>", f'<text x="8" y="16">{title}</text>', *parts, "</svg>"]) + "\n"


def ratios(rows: list[Row]) -> str:
    """Returns a picture with a bar for each row that has a ratio, from 1, where both modules are equal."""
    known = [(row, row.ratio) for row in rows if row.ratio is not None]
    height = _TOP + _LINE * len(known)
    parts = [_axis(_x(10**power), height, f"{10.0**power:g}") for power in range(_FIRST, _LAST + 1)]
    parts += [_bar(row, ratio, _TOP + _LINE * place) for place, (row, ratio) in enumerate(known)]
    title = "Rust / C, time or instructions; less than 1 is better"
    return _picture(_x(10**_LAST) + 60, height, title, parts)


def _waits(row: Row, y: int) -> str:
    """Returns two bars: the time of C, and below it that of Rust."""
    parts = [f'<text x="{_NAMES - 8}" y="{y + 13}" text-anchor="end">{escape(row.row)}</text>']
    for kind, value, top in (("worse", row.c, y + 2), ("better", row.rust, y + _LINE // 2)):
        width = max(_place(value, _SHORTEST, _LONGEST) - _NAMES, 1)
        parts.append(
            f'<rect class="{kind}" x="{_NAMES}" y="{top}" width="{width:.1f}" height="{_LINE // 2 - 2}"/>'
        )
    return "".join(parts)


def latencies(rows: list[Row]) -> str:
    """Returns a picture with the times of both modules, for rows in nanoseconds."""
    height = _TOP + _LINE * len(rows)
    end = _place(10**_LONGEST, _SHORTEST, _LONGEST)
    powers = range(_SHORTEST, _LONGEST + 1)
    parts = [_axis(_place(10**power, _SHORTEST, _LONGEST), height, _SECONDS[power]) for power in powers]
    parts += [_waits(row, _TOP + _LINE * place) for place, row in enumerate(rows)]
    return _picture(end + 60, height, "C above, Rust below", parts)


def save(rows: list[Row], path: Path) -> None:
    path.write_text(ratios(rows))


def save_latencies(rows: list[Row], path: Path) -> None:
    """Writes a picture of the rows that say how long something waits, if there are any."""
    waits = [row for row in rows if row.unit == "ns" and any(words in row.row for words in _WAITS)]
    if waits:
        path.write_text(latencies(waits))
