#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Says which lines of the module runs of the fuzzer reached, by file.

Usage: coverage.py LOG... MODULE.ko [LOG... MODULE.ko]... [--page=COMMIT | --judge]
       coverage.py --check
       coverage.py --age=COMMIT

Each log is that of a suite on a kernel with KCOV, with the module that follows it, and must say what was reached. A
line is reached if a block is in which it has instructions, in whatever function it was inlined. The lines are printed
that programs of the fuzzer did not reach and that unreached.txt does not name. --page prints
Documentation/coverage.rst, and refuses if there are any; COMMIT is that of the modules, as the page says. --judge fails
if there are any, or if programs of the fuzzer reached 90 % of the lines that count, or fewer. --check only checks that
unreached.txt names what the tree has, and that the page has each file with code, in its table or as one that is newer.
--age asks git what has changed since the commit by which the page was made, and writes that on the page."""

import re
import subprocess
import time
import sys
import textwrap
from bisect import bisect_right
from collections import defaultdict
from functools import cache
from dataclasses import dataclass, field
from pathlib import Path

# Of the lines that count, in percent, programs of the fuzzer must reach more.
LEAST = 90

TREE = Path(__file__).resolve().parents[2]
REASONS = TREE / "selftests/fuzz/unreached.txt"
PAGE = TREE / "Documentation/coverage.rst"
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


def silent(logs: list[Path]) -> list[str]:
    """Returns the names of the logs that have no place: of a suite that has ended early, or on a kernel without KCOV."""
    marks = ("# corpus reached ", "# reached ", "# tests reached ")
    return [str(log) for log in logs if not any(reached([log], mark) for mark in marks)]


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
    """The lines of a file: those that there are, that programs of the tree reached, that any of the fuzzer did, and
    that programs of other tests did."""

    there: set[int] = field(default_factory=set)
    corpus: set[int] = field(default_factory=set)
    any: set[int] = field(default_factory=set)
    tests: set[int] = field(default_factory=set)


@dataclass
class Runs:
    """A module, and the logs of runs with it."""

    logs: list[Path]
    module: Path


def count(runs: list[Runs]) -> dict[str, File]:
    """Returns the files of our source. There is a line if one of the modules has code of it."""
    files: dict[str, File] = defaultdict(File)
    for run in runs:
        if without := silent(run.logs):
            sys.exit(f"no line '# reached': did the suite end early, or was it a kernel without KCOV? {' '.join(without)}")
        corpus = reached(run.logs, "# corpus reached ")
        hit = corpus | reached(run.logs, "# reached ")
        tests = reached(run.logs, "# tests reached ")
        places = sorted(all_places(run.module))
        of = lines(run.module, places)
        for place in places:
            for name, line in of[place]:
                if not source(name).is_code(line):
                    continue
                files[name].there.add(line)
                if place in corpus:
                    files[name].corpus.add(line)
                if place in hit:
                    files[name].any.add(line)
                if place in tests:
                    files[name].tests.add(line)
    return {name: file for name, file in sorted(files.items()) if not name.startswith("selftests/")}


# What a line consists of that does nothing itself: brackets, a comment, an attribute, the head of a function.
_NO_CODE = re.compile(r"[\])}>,;]*|//.*|#!?\[.*|((pub(\(.*?\))?|const|unsafe|extern \"C\"|default) )*fn .*")
_FUNCTION = re.compile(r"(\s*)(?:(?:pub(?:\(.*?\))?|const|unsafe|extern \"C\"|default) )*fn (\w+)")
_BLOCK = re.compile(r"(\s*)(?:unsafe )?(?:impl|(?:pub(?:\(.*?\))? )?trait)\b(.*)")


@dataclass
class Function:
    """A function: its name, the type or trait that it is of, and its lines, the last one included."""

    name: str
    of: str
    first: int
    last: int


class Source:
    """The text of a file, and its functions, as rustfmt lays them out."""

    def __init__(self, name: str) -> None:
        self.lines = (TREE / name).read_text().splitlines()
        self.functions: list[Function] = []
        blocks: list[tuple[str, str]] = []
        for number, line in enumerate(self.lines, 1):
            while blocks and line == blocks[-1][0] + "}":
                blocks.pop()
            if match := _FUNCTION.match(line):
                of = blocks[-1][1] if blocks else ""
                self.functions.append(Function(match[2], of, number, self._end(number, match[1])))
            elif (match := _BLOCK.match(line)) and not line.endswith("}"):
                blocks.append((match[1], self._type(number)))

    def _end(self, number: int, indent: str) -> int:
        for last, line in enumerate(self.lines[number - 1 :], number):
            if line == indent + "}" or (line.endswith((";", "{}", " }")) and line.startswith(indent) and last == number):
                return last
            if line in (indent + ");", indent + "{}"):
                return last
        return number

    def _type(self, number: int) -> str:
        """Returns the name of the type that the block at a line is about, or of the trait."""
        head = ""
        for line in self.lines[number - 1 :]:
            head += " " + line.strip()
            if "{" in line:
                break
        head = re.sub(r"\bwhere\b.*", "", head.partition("{")[0])
        while (plain := re.sub(r"<[^<>]*>", "", head.replace("->", ""))) != head:
            head = plain
        words = re.findall(r"\w+", head.split(" for ")[-1])
        return words[-1] if words else ""

    def text(self, line: int) -> str:
        return self.lines[line - 1].strip()

    def statement(self, line: int) -> str:
        """Returns the first line of what a line is the end of: a semicolon ends the one before."""
        while line > 1 and not re.search(r"^$|^//|;$", self.text(line - 1)):
            line -= 1
        return self.text(line)

    def has_code(self) -> bool:
        """Whether a function of the file has a body."""
        bodies = (range(of.first, of.last + 1) for of in self.functions)
        return any(self.is_code(line) for body in bodies for line in body)

    def is_code(self, line: int) -> bool:
        return line <= len(self.lines) and not _NO_CODE.fullmatch(self.text(line))

    def function(self, line: int) -> str:
        """Returns the name of the innermost function in which a line is."""
        inside = [of for of in self.functions if of.first <= line <= of.last]
        if not inside:
            return ""
        of = inside[-1]
        return f"{of.of}.{of.name}" if of.of else of.name


@cache
def source(name: str) -> Source:
    return Source(name)


@dataclass
class Reason:
    """Why lines are not reached. Those of which `counts` is false could not be, so they are not counted."""

    kind: str
    text: str

    @property
    def counts(self) -> bool:
        return self.kind == "left"


@dataclass
class Selector:
    """Lines of a file: all, or those of a function, those with a text, or both."""

    where: str
    path: str
    function: str
    text: str
    reason: Reason

    def has(self, of: Source, line: int) -> bool:
        if self.text.endswith(" ..."):
            if not of.statement(line).startswith(self.text.removesuffix("...")):
                return False
        elif self.text and self.text != of.text(line):
            return False
        name = of.function(line)
        return not self.function or self.function in (name, name.rpartition(".")[2])

    def exists(self) -> bool:
        of = source(self.path)
        return any(self.has(of, line) for line in range(1, len(of.lines) + 1))


_SELECTOR = re.compile(r"(?:([\w.]+)\(\))?\s*(?:= (.+))?")


def selectors() -> dict[str, list[Selector]]:
    """Reads unreached.txt: the selectors by file. Exits if one selects nothing that there is."""
    found: dict[str, list[Selector]] = defaultdict(list)
    reason, path, wrong = None, "", []
    for number, line in enumerate(REASONS.read_text().splitlines(), 1):
        words = line.strip()
        where = f"{REASONS.name}:{number}"
        if not words or words.startswith("#"):
            continue
        if not line.startswith(" "):
            kind, _, text = words.partition(": ")
            if kind not in ("elsewhere", "cannot", "left", "absent"):
                sys.exit(f"{where}: '{kind}' is none of elsewhere, cannot, left, absent")
            reason = Reason(kind, text)
        elif not line.startswith("    "):
            path = words.removesuffix(" *")
            if not (TREE / path).exists():
                wrong.append(f"{where}: there is no {path}")
            elif words.endswith(" *"):
                paths = sorted(str(file.relative_to(TREE)) for file in (TREE / path).rglob("*.rs")) or [path]
                for each in paths:
                    found[each].append(Selector(where, each, "", "", reason))
        elif not (match := _SELECTOR.fullmatch(words)):
            wrong.append(f"{where}: what is '{words}'")
        elif (TREE / path).exists():
            selector = Selector(where, path, match[1] or "", match[2] or "", reason)
            found[path].append(selector)
            if not selector.exists():
                wrong.append(f"{where}: {path} has no such lines: {words}")
    if wrong:
        sys.exit("\n".join(wrong))
    return found


@dataclass
class Named:
    """The lines of a file that were not reached, by reason, and those that have none."""

    by: dict[str, tuple[Reason, list[int]]] = field(default_factory=dict)
    without: list[int] = field(default_factory=list)

    def not_counted(self) -> int:
        return sum(len(lines) for reason, lines in self.by.values() if not reason.counts)

    def of_kind(self, kind: str) -> set[int]:
        return {line for reason, lines in self.by.values() if reason.kind == kind for line in lines}


def name_lines(files: dict[str, File]) -> dict[str, Named]:
    """Gives each line that was not reached the reason of the first selector that has it."""
    known = selectors()
    found: dict[str, Named] = {}
    for name, file in files.items():
        for selector in known[name]:
            if selector.reason.kind == "absent":
                sys.exit(f"{selector.where}: {name} has code in the module")
        named = found[name] = Named()
        of = source(name)
        used = set()
        for line in sorted(file.there - file.any):
            selector = next((each for each in known[name] if each.has(of, line)), None)
            if selector is None:
                named.without.append(line)
            else:
                used.add(selector.where)
                named.by.setdefault(selector.reason.text, (selector.reason, []))[1].append(line)
        for selector in known[name]:
            if selector.where not in used and selector.reason.kind == "cannot":
                print(f"{selector.where}: all such lines of {name} were reached, or have no code", file=sys.stderr)
    return found


def percent(part: int, whole: int) -> str:
    return f"{100 * part // whole} %" if whole else ""


def numbers(files: dict[str, File], named: dict[str, Named], names: list[str]) -> tuple[int, int, int, int, int]:
    """Returns how many lines there are, that could not be reached, that the corpus reached, that any program of the
    fuzzer did, and that one of tests or the fuzzer did."""
    return (
        sum(len(files[name].there) for name in names),
        sum(named[name].not_counted() for name in names),
        sum(len(files[name].corpus) for name in names),
        sum(len(files[name].any) for name in names),
        sum(len(files[name].any | files[name].tests) for name in names),
    )


def row(title: str, of: tuple[int, int, int, int, int]) -> tuple[str, ...]:
    there, cannot, corpus, hit, tests = of
    counted = there - cannot
    shares = (percent(corpus, counted), percent(hit, counted), percent(hit, there), percent(tests, there))
    return title, str(there), str(cannot or ""), *shares


def with_tests(files: dict[str, File], named: dict[str, Named]) -> tuple[int, int, int]:
    """Returns how many lines there are, how many are reached by programs of the fuzzer or of tests, and how many are for
    what nothing makes happen, and not reached."""
    there = sum(len(file.there) for file in files.values())
    some = sum(len(file.any | file.tests) for file in files.values())
    never = sum(len(named[name].of_kind("cannot") - file.tests) for name, file in files.items())
    return there, some, never


def by_kind(files: dict[str, File], named: dict[str, Named]) -> str:
    """Says how many of the lines that are not counted there are of each kind, and how many of all lines are reached by
    programs of the fuzzer or of tests, also without those of the second kind that nothing reached."""
    elsewhere, cannot = (sum(len(each.of_kind(kind)) for each in named.values()) for kind in ("elsewhere", "cannot"))
    there, some, never = with_tests(files, named)
    return (
        f"Of the lines that are not counted, {elsewhere:,} need other hardware or drivers. {cannot:,} are for what nothing makes"
        f" happen, or run where KCOV does not see it: in workers, when the module is loaded, or in another copy of the code. Tests"
        f" reach {cannot - never:,} of these. Programs of the fuzzer or of tests reach {some:,} of all {there:,} lines,"
        f" {100 * some / there:.1f} %. Without the {never:,} of these that tests do not reach either, that is"
        f" {100 * some / (there - never):.1f} %."
    )


LINE = "{1:>6} lines {2:>4} not counted  {3:>5} {4:>5} {5:>5} {6:>5}  {0}"


def show(files: dict[str, File], named: dict[str, Named]) -> None:
    for name in files:
        print(LINE.format(*row(name, numbers(files, named, [name]))))
        for line in named[name].without:
            of = source(name)
            print(f"        {line:4} {of.function(line)}() = {of.text(line)}")
    print(LINE.format(*row("in all", numbers(files, named, [*files]))))
    print(by_kind(files, named))
    print(f"{sum(len(each.without) for each in named.values())} lines are neither reached nor named")


def judge(files: dict[str, File], named: dict[str, Named]) -> None:
    """Exits with a message if a line is neither reached nor named, or if too few are reached."""
    there, not_counted, _, reached_by_any, _ = numbers(files, named, [*files])
    if any(each.without for each in named.values()):
        sys.exit(f"{REASONS.relative_to(TREE)} does not name all lines that are not reached")
    if 100 * reached_by_any <= LEAST * (there - not_counted):
        sys.exit(f"{reached_by_any} of {there - not_counted} lines are reached by the fuzzer: not over {LEAST} %")
    there, some, _ = with_tests(files, named)
    if 100 * some <= LEAST * there:
        sys.exit(f"{some} of {there} lines are reached by the fuzzer and tests: not over {LEAST} %")


HEAD = """.. SPDX-License-Identifier: GPL-2.0-only
.. ``selftests/fuzz/coverage.py --page`` makes this page; :doc:`fuzzing` says how.

========
Coverage
========

Lines of the module that the fuzzer's programs reached, as KCOV reports it. A line counts if there are instructions of it, in
whatever function it was inlined, and is reached if a block of instructions is in which it has some. Heads of functions,
brackets, attributes and comments do not count. KCOV follows the tasks of a program, not the kernel's workers.

``selftests/fuzz/unreached.txt`` names each line that the fuzzer does not reach, with the reason; this page cannot be made
while one has none, and lists those that tests do not reach either. What no program of the fuzzer can reach, because of the
hardware, of an error that nothing makes happen, or of where KCOV looks, is not counted. What one could reach, and none does
yet, is. Most of what is not counted is code for hardware and drivers that no fuzzed guest has, not an error path. How much of
all lines the fuzzer and tests reach together is what the sentence before the table says; the fuzzer's share of all lines is in
the column "of all".

"Corpus" are the programs of the tree alone; "fuzzer" also the other programs of the runs whose logs were read, and those in
which something was made to fail (:doc:`fuzzing`). "Of all" is the same of all lines, counted or not. "With tests" adds, of
all lines, those that the programs of other suites reach, in the suites ``cover-*``: with emulated IOMMUs, with VFIO, and
without an IOMMU. All lines are those of the module for x86-64: ``drivers/smmu_v3``, by estimate some 450 lines,
and what else only arm64 has are not among them. ``nested-smmu`` and the host's unit tests run them; how many they reach was not
counted.

"""

# What the page says of its age begins and ends so.
_MADE = "Measured at commit "
_AGE = re.compile(rf"{_MADE}.*?(?=\n\n=)", re.DOTALL)
_PATH = re.compile(r"``([\w/]+\.rs)``")


def made_at(commit: str, logs: list[Path]) -> str:
    """Returns what the page says about when it was measured."""
    first = min(log.stat().st_mtime for log in logs)
    day = time.strftime("%d %B %Y", time.gmtime(first)).lstrip("0")
    return f"{_MADE}{commit}, on {day}."


def _fill(text: str) -> str:
    return textwrap.fill(text, 125, break_on_hyphens=False, break_long_words=False)


def _git(*words: str) -> list[str]:
    return _run("git", "-C", str(TREE), *words)


def age(commit: str) -> None:
    """Writes on the page which files have changed since the commit by which it was made."""
    short, day = _git("show", "-s", "--format=%h %cs", commit)[0].split()
    day = time.strftime("%d %B %Y", time.strptime(day, "%Y-%m-%d")).lstrip("0")
    changes: dict[str, list[str]] = defaultdict(list)
    for line in _git("diff", "--no-renames", "--name-status", commit, "HEAD", "--", *module_files(), "*.rs"):
        kind, path = line.split("\t")
        if not path.startswith("selftests/"):
            changes[kind].append(path)
    text = f"{_MADE}{short} of {day}."
    new = [path for path in changes["A"] if source(path).has_code()]
    if changes["M"] or changes["D"] or new:
        text += f" The module is newer: {len(changes['M'])} of the files have changed since, whose numbers and lines below are"
        text += f" those of then, and {len(changes['D'])} are gone. The reasons below are those of then, too:"
        text += " ``unreached.txt`` has those of now."
    if new:
        text += " Not in the table, because they were added since: " + ", ".join(f"``{path}``" for path in new) + "."
    text = _fill(text)
    page = PAGE.read_text()
    if not _AGE.search(page):
        page = page.replace("among\nthem.\n\n", f"among\nthem.\n\n{_MADE}\n\n", 1)
    PAGE.write_text(_AGE.sub(lambda _: text, page, count=1))


def module_files() -> list[str]:
    """Returns the module's Rust files."""
    paths = (path.relative_to(TREE) for path in TREE.rglob("*.rs"))
    return sorted(str(path) for path in paths if path.parts[0] not in ("build", "selftests", "tools", ".git", "rust"))


def check_page() -> None:
    """Exits with a message if the page does not have a file that has code."""
    absent = {name for name, of in selectors().items() if any(each.reason.kind == "absent" for each in of)}
    page = PAGE.read_text()
    named = {*re.findall(r"^``([\w/]+\.rs)``", page, re.MULTILINE)}
    if found := _AGE.search(page):
        named |= {*_PATH.findall(found[0])}
    missing = [name for name in module_files() if name not in named | absent and source(name).has_code()]
    if missing or not found:
        sys.exit(f"{PAGE.name} does not say when it was made, or lacks files with code: " + " ".join(missing))


def table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(rows[0]))]
    # The first column of a table must not be empty where another one is not.
    rule = "  ".join("=" * width for width in widths)
    text = ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip() for cells in rows]
    return [rule, text[0], rule, *text[1:], rule]


def ranges(lines: list[int]) -> str:
    """Returns lines as text, in which those that follow one another are a range."""
    parts: list[list[int]] = []
    for line in lines:
        if parts and line == parts[-1][1] + 1:
            parts[-1][1] = line
        else:
            parts.append([line, line])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


TITLES = {
    "left": "Not reached yet",
    "cannot": "What no program of the fuzzer can reach",
    "elsewhere": "What needs other hardware or drivers",
}


def page(files: dict[str, File], named: dict[str, Named], made: str) -> None:
    without = [f"{name}:{line}: {source(name).text(line)}" for name, each in named.items() for line in each.without]
    if without:
        sys.exit(f"neither reached nor in {REASONS}:\n" + "\n".join(without))
    rows = [("file", "lines", "not counted", "corpus", "fuzzer", "of all", "with tests")]
    rows.append(row("all files", numbers(files, named, [*files])))
    rows.extend(row(f"``{name}``", numbers(files, named, [name])) for name in files)
    print(HEAD + _fill(by_kind(files, named)), "", made, "", *table(rows), sep="\n")
    reasons: dict[tuple[str, str], dict[str, list[int]]] = defaultdict(dict)
    for name, each in named.items():
        for text, (reason, lines_of) in each.by.items():
            if left := [line for line in lines_of if line not in files[name].tests]:
                reasons[reason.kind, text][name] = left
    for kind, title in TITLES.items():
        some = {text: places for (of, text), places in reasons.items() if of == kind}
        if not some:
            continue
        total = sum(len(lines_of) for places in some.values() for lines_of in places.values())
        print(f"\n{title}: {total} lines", "=" * len(f"{title}: {total} lines"), sep="\n")
        for text, places in some.items():
            print(f"\n{text[0].upper()}{text[1:]}:".replace("*", r"\*"), "", sep="\n")
            for name, lines_of in places.items():
                whole = len(lines_of) == len(files[name].there)
                item = f"- ``{name}`` " + ("(all)" if whole else ranges(lines_of))
                print("\n  ".join(textwrap.wrap(item, 120, break_on_hyphens=False)))


def main() -> None:
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    options = set(sys.argv[1:]) - set(words)
    if sys.argv[1:] == ["--check"]:
        check_page()
        return
    if len(sys.argv) == 2 and sys.argv[1].startswith("--age="):
        age(sys.argv[1].partition("=")[2])
        return
    runs: list[Runs] = []
    logs: list[Path] = []
    for word in words:
        if word.endswith(".ko"):
            runs.append(Runs(logs, Path(word)))
            logs = []
        else:
            logs.append(Path(word))
    option, _, commit = "".join(options).partition("=")
    if not runs or logs or len(options) > 1 or option not in ("", "--page", "--judge") or (option == "--page") != bool(commit):
        sys.exit(__doc__)
    if missing := [str(path) for run in runs for path in (*run.logs, run.module) if not path.exists()]:
        sys.exit(f"coverage.py: not there: {' '.join(missing)}. `make coverage` makes them, `make fuzz` those of fuzz-long")
    files = count(runs)
    named = name_lines(files)
    if option == "--page":
        page(files, named, made_at(commit, [log for run in runs for log in run.logs]))
    else:
        show(files, named)
    if option == "--judge":
        judge(files, named)


main()
