#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Makes modules with the mistakes of mistakes.txt, one each.

Usage: mistakes.py FOLDER FLAVOUR [OPTION...]
       mistakes.py --check

The first prints the names of those it has made in FOLDER; those whose numbers are in the variable MISTAKES,
such as 5-8, if it is set. The second only checks that the tree has the texts that are replaced."""

import os
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


def chosen(mistakes: list[Mistake]) -> list[Mistake]:
    """Returns those that MISTAKES names, or all."""
    first, _, last = os.environ.get("MISTAKES", "").partition("-")
    return mistakes[int(first) - 1 : int(last or first)] if first else mistakes


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
    shutil.copy(out / "iommufd-rs.ko", folder / mistake.file_name())


def main() -> None:
    check()
    if sys.argv[1:] == ["--check"]:
        return
    folder, flavour, *options = sys.argv[1:]
    made = Path(folder)
    copy = made / "tree"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    shutil.copytree(TREE, copy, ignore=shutil.ignore_patterns("build", ".git", "target"), symlinks=True)
    os.chdir(copy)
    for mistake in chosen(read()):
        make(mistake, copy, flavour, options, made)
        print(mistake.name)
    shutil.rmtree(copy)


main()
