# SPDX-License-Identifier: GPL-2.0-only
"""The ratios of `make bench` as a picture: an SVG file, which any browser shows."""

import math
from html import escape
from pathlib import Path

from bench import Row

# In pixels.
_NAMES = 360
_DECADE = 160
_LINE = 18
_TOP = 40
# The powers of ten of the ratio at both ends of the axis.
_FIRST, _LAST = -3, 1
_STYLE = "text { font: 12px sans-serif } .worse { fill: #c44 } .better { fill: #48a } line { stroke: #999 }"


def _x(ratio: float) -> float:
    """Returns where a ratio is on the axis, which is logarithmic."""
    power = math.log10(ratio) if ratio > 0 else _FIRST
    return _NAMES + _DECADE * (min(max(power, _FIRST), _LAST) - _FIRST)


def _bar(row: Row, ratio: float, y: int) -> str:
    begin, end = sorted((_x(1), _x(ratio)))
    kind = "worse" if ratio > 1 else "better"
    return (
        f'<text x="{_NAMES - 8}" y="{y + 13}" text-anchor="end">{escape(row.row)}</text>'
        f'<rect class="{kind}" x="{begin:.1f}" y="{y + 3}" width="{max(end - begin, 1):.1f}" height="{_LINE - 6}"/>'
        f'<text x="{end + 6:.1f}" y="{y + 13}">{ratio:.2f}</text>'
    )


def _axis(power: int, height: int) -> str:
    x = _x(10**power)
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 6}" y2="{height}"/>'
        f'<text x="{x:.1f}" y="{_TOP - 12}" text-anchor="middle">{10.0**power:g}</text>'
    )


def ratios(rows: list[Row]) -> str:
    """Returns a picture with a bar for each row that has a ratio, from 1, where both modules are equal."""
    known = [(row, row.ratio) for row in rows if row.ratio is not None]
    height = _TOP + _LINE * len(known)
    width = int(_x(10**_LAST)) + 60
    parts = [_axis(power, height) for power in range(_FIRST, _LAST + 1)]
    parts += [_bar(row, ratio, _TOP + _LINE * place) for place, (row, ratio) in enumerate(known)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height + 10}">'
    title = '<text x="8" y="16">Rust / C, time or instructions; less than 1 is better</text>'
    return "\n".join([head, f"<style>{_STYLE}</style>", title, *parts, "</svg>"]) + "\n"


def save(rows: list[Row], path: Path) -> None:
    path.write_text(ratios(rows))
