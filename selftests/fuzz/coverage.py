#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Says which lines of the module a run of the fuzzer reached, by file.

Usage: coverage.py LOG MODULE.ko [--missing]

The log is that of a suite on the kernel flavour fuzz. A line counts if the compiler put a place into it
that KCOV reports, in whatever function it was inlined. --missing names the lines that were not reached."""

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
_CALL = re.compile(r"^([0-9a-f]+)\s+.*__sanitizer_cov_trace_pc\b")
# Places are where the call returns to: behind its 4 bytes.
_RETURN = 4


def reached(log: Path) -> set[int]:
    """Returns the places of all runs in a log, as offsets in .text."""
    places: set[int] = set()
    for line in log.read_text(errors="replace").splitlines():
        _, mark, rest = line.partition("# reached ")
        if mark:
            places.update(int(word, 16) for word in rest.split())
    return places


def all_places(module: Path) -> set[int]:
    """Returns the places that there are in the module's .text."""
    command = ["llvm-readelf", "--relocations", "--wide", str(module)]
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    places: set[int] = set()
    section = ""
    for line in out.splitlines():
        if line.startswith("Relocation section"):
            section = line.split("'")[1]
        elif section == ".rela.text" and (match := _CALL.match(line)):
            places.add(int(match[1], 16) + _RETURN)
    return places


def lines(module: Path, places: list[int]) -> dict[int, set[tuple[str, int]]]:
    """Returns the lines of our source that each place belongs to."""
    # The address before the one that a call returns to is within the call.
    asked = "".join(f"{place - 1:#x}\n" for place in places)
    command = ["llvm-symbolizer", "--obj", str(module), "--inlines", "--functions=none", "--output-style=LLVM"]
    out = subprocess.run(command, input=asked, stdout=subprocess.PIPE, text=True, check=True).stdout
    found: dict[int, set[tuple[str, int]]] = {}
    for place, block in zip(places, out.split("\n\n")):
        found[place] = set()
        for line in block.splitlines():
            name, _, rest = line.partition(".rs:")
            path = Path(name + ".rs")
            if rest and (ours := _ours(path)):
                found[place].add((ours, int(rest.split(":")[0])))
    return found


def _ours(path: Path) -> str:
    """Returns the name of a file of the tree, or nothing."""
    for parent in [*path.parents][:-1]:
        name = str(path.relative_to(parent))
        if (TREE / name).exists() and not name.startswith(("build/", "rust/")):
            return name
    return ""


def main() -> int:
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    if len(words) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    log, module = map(Path, words)
    hit = reached(log)
    if not hit:
        print(f"{log} has no line '# reached': was it a kernel with KCOV?", file=sys.stderr)
        return 1
    places = sorted(all_places(module))
    of = lines(module, places)
    there: dict[str, set[int]] = defaultdict(set)
    seen: dict[str, set[int]] = defaultdict(set)
    for place in places:
        for name, line in of[place]:
            there[name].add(line)
            if place in hit:
                seen[name].add(line)
    for name in sorted(there):
        print(f"{len(seen[name]):5} of {len(there[name]):5}  {len(seen[name]) / len(there[name]):4.0%}  {name}")
        if "--missing" in sys.argv and (missing := sorted(there[name] - seen[name])):
            print(f"        not reached: {', '.join(map(str, missing))}")
    total, count = sum(map(len, there.values())), sum(map(len, seen.values()))
    print(f"{count:5} of {total:5}  {count / total:4.0%}  in all; {len(hit & set(places))} of {len(places)} places")
    return 0


sys.exit(main())
