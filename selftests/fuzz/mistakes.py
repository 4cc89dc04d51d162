#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Makes modules with the mistakes of mistakes.txt, one each.

Usage: mistakes.py FOLDER FLAVOUR PATTERN [OPTION...]
       mistakes.py --check
       mistakes.py --found LOG...

The first prints the names of those it has in FOLDER, and makes only those that it does not have of the same
tree and kernel, and whose names, with "-" for spaces, match the shell pattern. It fails if two are the same module. The
second only checks that the tree has the texts that are replaced. The third prints the table of
Documentation/fuzzing.rst from logs of the suite."""

import filecmp
import fnmatch
import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
LIST = TREE / "selftests/fuzz/mistakes.txt"


@dataclass
class Mistake:
    """A text of a file, and what replaces it."""

    name: str
    path: str
    old: str
    new: str

    def file_name(self) -> str:
        return self.name.replace(" ", "-") + ".ko"


def read() -> list[Mistake]:
    found = []
    for block in LIST.read_text().split("\n== ")[1:]:
        name, path, *lines = block.rstrip("\n").split("\n")
        part = lambda sign: "\n".join(line[2:] for line in lines if line.startswith(sign + " "))
        found.append(Mistake(name, path, part("-"), part("+")))
    return found


def kernel(flavour: str) -> str:
    """Returns the test kernel's folder, of which the name says of what source, patches, configuration and tools it is."""
    command = [str(TREE / "scripts/kernel.sh"), flavour]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def digest(mistake: Mistake, made_for: str, options: list[str]) -> str:
    """Returns what the module for a kernel depends on, as a digest."""
    found = hashlib.sha256(repr((mistake, made_for, options)).encode())
    for path in sorted(TREE.rglob("*")):
        top, *rest = path.relative_to(TREE).parts
        is_ours = top not in ("build", ".git", "selftests") or (top == "selftests" and rest[:1] == ["mock"])
        if is_ours and (path.suffix in (".rs", ".c", ".h") or path.name in ("Kbuild", "Kconfig", "Makefile")):
            found.update(path.read_bytes())
    return found.hexdigest()


def check() -> None:
    """Exits with a message if the tree does not have a text once."""
    for mistake in read():
        if (TREE / mistake.path).read_text().count(mistake.old) != 1:
            sys.exit(f"mistake '{mistake.name}': {mistake.path} does not have its text once")


def make(mistake: Mistake, copy: Path, flavour: str, options: list[str], folder: Path) -> None:
    path = copy / mistake.path
    right = path.read_text()
    path.write_text(right.replace(mistake.old, mistake.new))
    out = folder / "module"
    command = ["make", "-C", str(copy), "modules", f"FLAVOUR={flavour}", f"OUT={out}", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    path.write_text(right)
    if done.returncode:
        sys.exit(f"mistake '{mistake.name}' does not compile:\n{done.stdout[-3000:]}")
    module = out / "iommufd-rs.ko"
    # One that was not made anew has the mistake of another one, by which it would be found.
    for other in {*folder.glob("*.ko")} - {folder / mistake.file_name()}:
        if filecmp.cmp(module, other, shallow=False):
            sys.exit(f"mistake '{mistake.name}': the module is that of {other.name}")
    shutil.copy(module, folder / mistake.file_name())


def found(logs: list[str]) -> None:
    """Prints a table of when and by what the mistakes were found."""
    text = "".join(Path(log).read_text(errors="replace") for log in logs)
    rows = [("mistake", "found after", "by")]
    for mistake in read():
        line = re.search(rf"@@ ok {re.escape(mistake.name)}: found after (\d+) s by: (.*)", text)
        if not line and f"@@ not ok {mistake.name}: " in text:
            rows.append((mistake.name, "", "not found"))
            continue
        if not line:
            print(f"no log says whether '{mistake.name}' was found", file=sys.stderr)
            continue
        call, _, answers = line[2].partition(": C ")
        how, (c, differs, ours) = call, answers.partition("; ours ")
        if complaint := re.search(r"(WARNING|BUG): .*?([\w/]+\.\w+):\d+", line[2]):
            # The line, and what it is in, are in the log.
            how = f"``{complaint[1]}`` of the kernel in ``{complaint[2]}``"
        elif complaint := re.match(r"a complaint of the kernel: BUG: (\w+: [\w-]+)", line[2]):
            how = f"``{complaint[1]}``"
        elif call.startswith("no order of the calls"):
            # The answers are in the log.
            how = "``fuzz meet``: no order explains the answers"
        elif re.match(r"call \d+ fails at point \d+ ", line[2]):
            # The call, and what was answered, are in the log.
            how = "``fuzz inject``: answers differ after a failure"
        elif differs:
            # The fields that differ, and what was read, are in the log.
            c, ours = c.split(" ")[0], ours.split(" ")[0]
            how = f"``{call}``: " + (f"{ours} instead of {c}" if c != ours else "what it says")
        rows.append((mistake.name, f"{line[1]} s", how))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    print(rule, lines[0], rule, *lines[1:], rule, sep="\n")


def main() -> None:
    if sys.argv[1:2] == ["--found"]:
        return found(sys.argv[2:])
    check()
    if sys.argv[1:] == ["--check"]:
        return
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    folder, flavour, pattern, *options = sys.argv[1:]
    made = Path(folder)
    copy = made / "tree"
    made.mkdir(parents=True, exist_ok=True)
    wanted = {made / mistake.file_name(): mistake for mistake in read()}
    for module in {*made.glob("*.ko")} - {*wanted}:
        module.unlink()
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(TREE, copy, ignore=shutil.ignore_patterns("build", ".git", "target"), symlinks=True)
    os.chdir(copy)
    made_for = kernel(flavour)
    for module, mistake in wanted.items():
        if not fnmatch.fnmatch(module.stem, pattern):
            continue
        key = module.with_suffix(".key")
        now = digest(mistake, made_for, options)
        if not module.exists() or not key.exists() or key.read_text() != now:
            make(mistake, copy, flavour, options, made)
            key.write_text(now)
        print(mistake.name)
    shutil.rmtree(copy)


main()
