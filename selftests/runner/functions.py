# SPDX-License-Identifier: GPL-2.0-only
"""How many instructions each function of the kernel executes in what is measured: `make bench COUNT=functions`."""

import re
import subprocess
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

import build
import report

PLUGIN = build.BUILD / "functions.so"
COUNTS = build.BUILD / "functions.txt"
_SOURCE = build.TOP / "selftests/runner/functions.c"
# A line of selftests/guest/bench.sh.
_MARK = "symbol "
# Functions with a smaller share of a call are summed up.
_SMALL = 0.005
# What Rust's names have of the version of a crate.
_CRATE = re.compile(r"\[[0-9a-f]{16}\]")
_LABELS = {"c": "C", "r": "Rust"}


def plugin() -> Path:
    """Builds the plugin of QEMU. Returns its file."""
    flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden"]
    build.logged("QEMU's plugin", build.LOGS / "functions.log", ["gcc", *flags, "-o", str(PLUGIN), str(_SOURCE)])
    COUNTS.unlink(missing_ok=True)
    return PLUGIN


@dataclass
class _Place:
    """What is measured at a place of the program with one module."""

    label: str
    addr: str
    calls: int
    functions: Counter[str] = field(default_factory=Counter)


class Symbols:
    """The functions of the kernel and, by the label of what is measured, of the modules."""

    def __init__(self, system_map: Path) -> None:
        self._kernel = sorted(_parsed(system_map.read_text().splitlines()))
        self._modules: dict[str, list[tuple[int, str]]] = {}

    def feed(self, line: str) -> None:
        """Reads a line of the guest."""
        if line.startswith(_MARK):
            label, addr, name = line.removeprefix(_MARK).split(" ")
            self._modules.setdefault(label[0], []).append((int(addr, 16), name))

    def name(self, label: str, addr: int) -> str:
        modules = sorted(self._modules.get(label, []))
        where = modules if modules and addr >= modules[0][0] else self._kernel
        at = bisect_right(where, (addr, "\uffff")) - 1
        return where[at][1] if at >= 0 else "?"


def _parsed(lines: list[str]) -> list[tuple[int, str]]:
    return [(int(addr, 16), name) for addr, kind, name in (line.split()[:3] for line in lines) if kind in "tTwW"]


def show(symbols: Symbols, program: Path) -> bool:
    """Prints a table for each place of the program. Returns whether there is any."""
    places = _read(symbols)
    for addr in dict.fromkeys(place.addr for place in places):
        _show(program, addr, {place.label: place for place in places if place.addr == addr})
    return bool(places)


def _read(symbols: Symbols) -> list[_Place]:
    places: dict[str, _Place] = {}
    names: dict[tuple[str, str], str] = {}
    for line in COUNTS.read_text().splitlines() if COUNTS.exists() else []:
        kind, slot, *rest = line.split()
        if kind == "calls":
            places[slot] = _Place(rest[0], rest[1], int(rest[2]))
            continue
        place = places[slot]
        known = place.label, rest[0]
        if known not in names:
            names[known] = symbols.name(place.label, int(rest[0], 16))
        place.functions[names[known]] += int(rest[1])
    return [place for place in places.values() if place.label in _LABELS]


def _show(program: Path, addr: str, places: dict[str, _Place]) -> None:
    found = subprocess.run(["addr2line", "-e", str(program), addr], capture_output=True, text=True).stdout
    file, _, line = found.split()[0].partition(":")
    path = Path(file)
    source = path.read_text().splitlines()[int(line) - 1].strip() if path.exists() else ""
    report.say(f"\n{path.name}:{line}: {source}")
    means = {label: {name: nr / place.calls for name, nr in place.functions.items()} for label, place in places.items()}
    most = Counter({name: max(mean.get(name, 0) for mean in means.values()) for mean in means.values() for name in mean})
    total = max(sum(mean.values()) for mean in means.values())
    large = [name for name, nr in most.most_common() if nr >= total * _SMALL]
    labels = [label for label in _LABELS if label in means]
    report.say("".join(f"{_LABELS[label]:>12}" for label in labels) + "  instructions a call")
    for name, shown in zip(large, _demangled(large)):
        report.say("".join(f"{means[label].get(name, 0):12.0f}" for label in labels) + f"  {shown}")
    rest = [sum(nr for name, nr in means[label].items() if name not in large) for label in labels]
    report.say("".join(f"{nr:12.0f}" for nr in rest) + "  others")
    report.say("".join(f"{sum(means[label].values()):12.0f}" for label in labels) + "  all")


def _demangled(names: list[str]) -> list[str]:
    done = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True)
    return [_CRATE.sub("", name) for name in done.stdout.splitlines()]
