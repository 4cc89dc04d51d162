#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Makes modules with the mistakes of mistakes.txt, one each.

Usage: mistakes.py FOLDER FLAVOUR [OPTION...]. Prints the names of those it has made in FOLDER."""

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


def make(mistake: Mistake, copy: Path, flavour: str, options: list[str], folder: Path) -> None:
    path = copy / mistake.path
    right = path.read_text()
    if right.count(mistake.old) != 1:
        sys.exit(f"mistake '{mistake.name}': {mistake.path} does not have its text once")
    path.write_text(right.replace(mistake.old, mistake.new))
    out = folder / "module"
    command = ["make", "-C", str(copy), "modules", f"FLAVOUR={flavour}", f"OUT={out}", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    path.write_text(right)
    if done.returncode:
        sys.exit(f"mistake '{mistake.name}' does not compile:\n{done.stdout[-3000:]}")
    shutil.copy(out / "iommufd-rs.ko", folder / mistake.file_name())


def main() -> None:
    folder, flavour, *options = sys.argv[1:]
    made = Path(folder)
    copy = made / "tree"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    shutil.copytree(TREE, copy, ignore=shutil.ignore_patterns("build", ".git", "target"), symlinks=True)
    os.chdir(copy)
    for mistake in read():
        make(mistake, copy, flavour, options, made)
        print(mistake.name)
    shutil.rmtree(copy)


main()
