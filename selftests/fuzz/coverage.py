#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Says which lines of the module runs of the fuzzer reached, by file.

Usage: coverage.py LOG... MODULE.ko [--missing | --page]

Each log is that of a suite on the kernel flavour fuzz with that module. A line is reached if a block is in
which it has instructions, in whatever function it was inlined. --missing names the lines that were not
reached. --page prints Documentation/coverage.rst, with the reasons of unreached.txt."""

import re
import subprocess
import sys
import textwrap
from bisect import bisect_right
from collections import defaultdict
from functools import cache
from dataclasses import dataclass, field
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
REASONS = TREE / "selftests/fuzz/unreached.txt"
_CALL = re.compile(r"^([0-9a-f]+)\s+.*__sanitizer_cov_trace_pc\b")
# Places are where the call returns to: behind the 4 bytes of its address, which an opcode precedes.
_RETURN = 4
_CALL_SIZE = 5
_ROW = re.compile(r"0x([0-9a-f]+) +\d+ +\d+ +\d+ .*?(end_sequence)?$")


def reached(logs: list[Path], mark: str) -> set[int]:
    """Returns the places of all runs in logs, as offsets in .text."""
    places: set[int] = set()
    for log in logs:
        for line in log.read_text(errors="replace").splitlines():
            _, found, rest = line.partition(mark)
            if found:
                places.update(int(word, 16) for word in rest.split())
    return places


def _run(*command: str) -> list[str]:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()


def all_places(module: Path) -> set[int]:
    """Returns the places that there are in the module's .text: one at the beginning of each block."""
    places: set[int] = set()
    section = ""
    for line in _run("llvm-readelf", "--relocations", "--wide", str(module)):
        if line.startswith("Relocation section"):
            section = line.split("'")[1]
        elif section == ".rela.text" and (match := _CALL.match(line)):
            places.add(int(match[1], 16) + _RETURN)
    return places


def functions(module: Path) -> list[int]:
    """Returns where functions begin in .text."""
    lines = [line.split() for line in _run("llvm-nm", "--numeric-sort", str(module))]
    return [int(words[0], 16) for words in lines if len(words) == 3 and words[1] in "tT"]


def addresses(module: Path) -> list[int]:
    """Returns the addresses in .text at which the debugger's table of lines says that another line begins."""
    found: list[int] = []
    part: list[int] = []
    for line in _run("llvm-dwarfdump", "--debug-line", str(module)):
        if not (match := _ROW.match(line)):
            continue
        part.append(int(match[1], 16))
        if match[2]:
            # What does not follow is of another section, whose addresses begin at 0 as well.
            if not found or part[0] > found[-1]:
                found += part[:-1]
            part = []
    return sorted(set(found))


def lines(module: Path, places: list[int]) -> dict[int, set[tuple[str, int]]]:
    """Returns the lines of our source that are in the block of each place."""
    calls = [place - _CALL_SIZE for place in places]
    begins = functions(module)
    found: dict[int, set[tuple[str, int]]] = {place: set() for place in places}
    asked = addresses(module)
    command = ["llvm-symbolizer", "--obj", str(module), "--inlines", "--functions=none", "--output-style=LLVM"]
    text = "".join(f"{address:#x}\n" for address in asked)
    out = subprocess.run(command, input=text, stdout=subprocess.PIPE, text=True, check=True).stdout
    for address, of in zip(asked, out.split("\n\n")):
        block = bisect_right(calls, address) - 1
        begin = bisect_right(begins, address) - 1
        # A function's first instructions are in front of its first place.
        if block < 0 or (begin >= 0 and calls[block] < begins[begin]):
            block += 1
        if block == len(places):
            continue
        for line in of.splitlines():
            name, mark, rest = line.partition(".rs:")
            number = int(rest.split(":")[0]) if mark else 0
            if number and (ours := _ours(Path(name + ".rs"))):
                found[places[block]].add((ours, number))
    return found


@cache
def _ours(path: Path) -> str:
    """Returns the name of a file of the tree, or nothing."""
    for parent in [*path.parents][:-1]:
        name = str(path.relative_to(parent))
        if (TREE / name).exists() and not name.startswith(("build/", "rust/")):
            return name
    return ""


@dataclass
class File:
    """The lines of a file: those that there are, that the programs of the tree reached, and that any did."""

    there: set[int] = field(default_factory=set)
    corpus: set[int] = field(default_factory=set)
    any: set[int] = field(default_factory=set)


def count(logs: list[Path], module: Path) -> dict[str, File]:
    corpus = reached(logs, "# corpus reached ")
    hit = corpus | reached(logs, "# reached ")
    if not hit:
        sys.exit("no log has a line '# reached': was it a kernel with KCOV?")
    places = sorted(all_places(module))
    of = lines(module, places)
    files: dict[str, File] = defaultdict(File)
    for place in places:
        for name, line in of[place]:
            files[name].there.add(line)
            if place in corpus:
                files[name].corpus.add(line)
            if place in hit:
                files[name].any.add(line)
    return dict(sorted(files.items()))


def numbers(files: list[File]) -> tuple[int, int, int]:
    """Returns how many lines there are, that the corpus reached, and that any program did."""
    return tuple(sum(len(getattr(file, part)) for file in files) for part in ("there", "corpus", "any"))


def percent(part: int, whole: int) -> str:
    return f"{100 * part // whole} %" if whole else ""


def show(files: dict[str, File], missing: bool) -> None:
    def row(name: str, of: list[File]) -> None:
        there, corpus, hit = numbers(of)
        print(f"{there:6} lines  {percent(corpus, there):>5} {percent(hit, there):>5}  {name}")

    for name, file in files.items():
        row(name, [file])
        if missing and (left := sorted(file.there - file.any)):
            print(f"        not reached: {', '.join(map(str, left))}")
    row("in all", list(files.values()))


def reasons() -> dict[str, str]:
    """Reads why lines of a file or folder are not reached."""
    found: dict[str, str] = {}
    for line in REASONS.read_text().splitlines():
        name, mark, reason = line.partition(": ")
        if line.startswith("  ") and found:
            found[[*found][-1]] += " " + line.strip()
        elif mark and not line.startswith("#"):
            found[name] = reason
    return found


def reason_of(name: str, known: dict[str, str]) -> str:
    """Returns the reason of a file, or of the innermost folder that has one, or nothing."""
    path = Path(name)
    for part in [path, *path.parents]:
        if str(part) in known:
            return known[str(part)]
    return ""


HEAD = """.. SPDX-License-Identifier: GPL-2.0-only
.. ``selftests/fuzz/coverage.py --page`` makes this page; :doc:`fuzzing` says how.

========
Coverage
========

Lines of the module that programs of the fuzzer reached, as KCOV reports it. A line counts if there are instructions of it,
in whatever function it was inlined, and is reached if a block of instructions is in which it has some. "Corpus" are the
programs of the tree alone; "all" also the other programs of the runs whose logs were read (:doc:`fuzzing` names them). KCOV
follows the tasks of a program, not the kernel's workers, and not the loading of the module. Files whose reason begins with
"elsewhere" need hardware or a driver that no fuzzed guest has; the suites named there reach them.
"""


def page(files: dict[str, File]) -> None:
    known = reasons()
    ours = {name: file for name, file in files.items() if not name.startswith("selftests/")}
    rows = [("file", "lines", "corpus", "all", "what is not reached")]
    for name, file in ours.items():
        there, corpus, hit = numbers([file])
        # A row whose first cell is empty goes on with the one above it.
        why = reason_of(name, known) if hit < there else ""
        if hit < there and not why:
            sys.exit(f"{REASONS}: nothing about {name}")
        first, *rest = textwrap.wrap(why.replace("*", r"\*"), 66, break_on_hyphens=False) or [""]
        rows.append((f"``{name}``", str(there), percent(corpus, there), percent(hit, there), first))
        rows.extend(("", "", "", "", more) for more in rest)
    here = [file for name, file in ours.items() if not reason_of(name, known).startswith("elsewhere: ")]
    for title, some in (("without those that say elsewhere", here), ("in all", list(ours.values()))):
        there, corpus, hit = numbers(some)
        rows.append((title, str(there), percent(corpus, there), percent(hit, there), ""))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    rule = "  ".join("=" * width for width in widths)
    text = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    print(HEAD, rule, text[0], rule, *text[1:], rule, sep="\n")


def main() -> None:
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    options = set(sys.argv[1:]) - set(words)
    if len(words) < 2 or options - {"--missing", "--page"}:
        sys.exit(__doc__)
    files = count([Path(word) for word in words[:-1]], Path(words[-1]))
    if "--page" in options:
        page(files)
    else:
        show(files, "--missing" in options)


main()
