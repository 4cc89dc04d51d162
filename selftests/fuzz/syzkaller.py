#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Checks a description in syzkaller's language by the grammar that syzkaller's docs/syscall_descriptions_syntax.md has,
as far as dev_iommu_rs.txt uses it, and by what pkg/compiler of syzkaller refuses.

Usage: syzkaller.py [FILE]

Exits with a message about each line that is wrong, and about names that are not declared, or not used, or that
syzkaller declares itself: syzkaller_has.txt. It does not know which constants there are."""

import re
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
FILE = FOLDER / "dev_iommu_rs.txt"


def syzkaller_has() -> tuple[dict[str, set[str]], set[str]]:
    """Returns the names that syzkaller declares today, by their kind, and all those that it is known to have declared."""
    today: dict[str, set[str]] = {"call": set(), "resource": set(), "type": set(), "flags": set()}
    ever: set[str] = set()
    when = ""
    for line in (FOLDER / "syzkaller_has.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        if not line.startswith(" "):
            when = line.rpartition(", ")[2]
            if when not in ("today:", "then:"):
                sys.exit(f"syzkaller_has.txt: {line}")
            continue
        kind, *names = line.split()
        ever.update(names)
        if when == "today:":
            today[kind].update(names)
    return today, ever


TODAY, EVER = syzkaller_has()
RESOURCES = TODAY["resource"]
FLAGS = TODAY["flags"]

INT = {"int8", "int16", "int32", "int64"}
NAME = r"[A-Za-z_][A-Za-z0-9_]*"
CALL = re.compile(rf"({NAME}(?:\${NAME})*)\((.*)\)(?: ({NAME}))?")
TYPE_NAME = rf"{NAME}(?:\${NAME})?"
# How wide a tab is.
TAB = 8
COPYRIGHT = re.compile(
    r"^# Copyright 20\d\d syzkaller project authors\. All rights reserved\.\n"
    r"# Use of this source code is governed by Apache 2 LICENSE that can be found in the LICENSE file\.$",
    re.MULTILINE,
)
CONST = re.compile(rf"{NAME}|-?\d+|0x[0-9a-f]+")


def split(text: str) -> list[str]:
    """Splits a list at the commas that are in no brackets."""
    parts, depth, begin = [], 0, 0
    for at, char in enumerate(text):
        depth += (char == "[") - (char == "]")
        if char == "," and depth == 0:
            parts.append(text[begin:at].strip())
            begin = at + 1
    return [*parts, text[begin:].strip()] if text.strip() else []


class Checker:
    def __init__(self, text: str) -> None:
        self.wrong: list[str] = []
        self.where = ""
        self.resources: set[str] = set()
        self.structs: dict[str, list[tuple[str, str, str]]] = {}
        self.flags: set[str] = set()
        self.includes: set[str] = set()
        self.defines: set[str] = set()
        self.sizes: set[str] = set()
        self.used: set[str] = set()
        # Resources that a call returns, or writes, and those that a call takes.
        self.made: set[str] = set()
        self.calls: list[tuple[str, list[tuple[str, str]], str]] = []
        self.head(text)
        self.read(text)

    def head(self, text: str) -> None:
        """Looks for the lines that tools/check-copyright.sh of syzkaller wants."""
        if not COPYRIGHT.search(text):
            self.wrong.append("no copyright of syzkaller's authors")

    def columns(self, name: str, fields: list[tuple[str, int, int]]) -> None:
        """Checks that all types begin in the first column that pkg/ast/format.go can give them: fields have their name,
        how many tabs follow it, and their line."""
        most = max((len(field) // TAB for field, _, _ in fields), default=0) + 1
        for field, tabs, number in fields:
            if tabs != (want := most - len(field) // TAB):
                self.wrong.append(f"line {number}: {name}: {tabs} tabs after {field}, not {want}")

    def error(self, message: str) -> None:
        self.wrong.append(f"{self.where}: {message}")

    def read(self, text: str) -> None:
        """Reads the declarations."""
        name, end = "", ""
        fields: list[tuple[str, int, int]] = []
        for number, line in enumerate(text.splitlines(), 1):
            self.where = f"line {number}"
            if end and line.startswith("\t"):
                if not (field := re.fullmatch(rf"\t({NAME})(\t+)(\S.*?)(?:\t\((in|out|inout)\))?", line)):
                    self.error(f"no field: {line}")
                    continue
                if any(field[1] == other for other, _, _ in self.structs[name]):
                    self.error(f"{name} has two fields {field[1]}")
                self.structs[name].append((field[1], field[3], field[4] or ""))
                fields.append((field[1], len(field[2]), number))
            elif end:
                attributes = r"varlen" if end == "]" else rf"packed|size\[({NAME})\]"
                if not (match := re.fullmatch(rf"\{end}(?: \[(?:{attributes})\])?", line)):
                    self.error(f"{name} does not end: {line}")
                elif match.lastindex:
                    self.sizes.add(match[1])
                if not self.structs[name]:
                    self.error(f"{name} is empty")
                self.columns(name, fields)
                fields, end = [], ""
            elif not line or line.startswith("#"):
                if re.match(r"#\s*(include|incdir|define)", line):
                    self.error(f"a comment that looks like a directive: {line}")
            elif match := re.fullmatch(r"include <([\w./-]+)>", line):
                if match[1] in self.includes:
                    self.error(f"{match[1]} is included already")
                self.includes.add(match[1])
            elif match := re.fullmatch(rf"define ({NAME})\t(\S.*)", line):
                if match[1] in self.defines:
                    self.error(f"{match[1]} is defined already")
                self.defines.add(match[1])
            elif match := re.fullmatch(rf"resource ({NAME})\[({NAME})\](?:: .*)?", line):
                self.declare(match[1], self.resources)
                if match[2] not in INT | RESOURCES | self.resources:
                    self.error(f"a resource of {match[2]}")
            elif match := re.fullmatch(rf"({NAME}) = (.+)", line):
                self.declare(match[1], self.flags)
                for value in split(match[2]):
                    if not CONST.fullmatch(value):
                        self.error(f"no constant: {value}")
            elif match := re.fullmatch(rf"({TYPE_NAME}) ([{{\[])", line):
                name, end = match[1], {"{": "}", "[": "]"}[match[2]]
                self.declare(name, self.structs)
                self.structs[name] = []
            elif match := CALL.fullmatch(line):
                arguments = []
                for argument in split(match[2]):
                    argument_name, _, of = argument.partition(" ")
                    arguments.append((argument_name, of))
                if match[1] in EVER:
                    self.error(f"syzkaller declares {match[1]}")
                if match[1] in {call for call, _, _ in self.calls}:
                    self.error(f"{match[1]} is declared already")
                self.calls.append((match[1], arguments, match[3] or ""))
            else:
                self.error(f"what is: {line}")
        if end:
            self.error(f"{name} does not end")

    def declare(self, name: str, among: object) -> None:
        if name in self.resources | self.flags | {*self.structs} | INT:
            self.error(f"{name} is declared already")
        if name in EVER:
            self.error(f"syzkaller declares {name}")
        elif not name.startswith(("iommufd_", "fd_iommu_")):
            self.error(f"syzkaller may declare {name}, since that is a name of C")
        if isinstance(among, set):
            among.add(name)

    def check(self) -> list[str]:
        taken: set[str] = set()
        for call, arguments, returns in self.calls:
            self.where = call
            names = [name for name, _ in arguments]
            for _, of in arguments:
                self.type(of, names, "in", False, taken, set())
            if returns:
                self.use(returns, "out", taken)
        self.where = FILE.name
        for name in sorted((self.resources | self.flags | {*self.structs}) - self.used):
            self.error(f"{name} is not used")
        # The constants of each file are looked up by its own directives.
        for name in sorted(self.sizes - self.defines):
            self.error(f"{name} is not defined in this file")
        for name in sorted(self.defines - self.sizes):
            self.error(f"{name} is defined, and not used")
        for name in sorted(self.resources - self.made):
            self.error(f"no call makes a {name}")
        for name in sorted(self.resources - taken):
            self.error(f"no call takes a {name}")
        return self.wrong

    def use(self, name: str, direction: str, taken: set[str]) -> None:
        self.used.add(name)
        if direction != "in":
            self.made.add(name)
        if direction != "out":
            taken.add(name)

    def type(self, text: str, names: list[str], direction: str, is_field: bool, taken: set[str], seen: set[str]) -> None:
        """Checks a type. Its siblings have these names. In a struct a number says how large it is."""
        match = re.fullmatch(rf"({TYPE_NAME})(?:\[(.*)\])?", text)
        if not match:
            return self.error(f"no type: {text}")
        name, arguments = match[1], split(match[2] or "")
        number = 1 if is_field else 0

        def want(*counts: int) -> bool:
            if len(arguments) not in counts:
                self.error(f"{text} has {len(arguments)} arguments")
            return len(arguments) in counts

        def base() -> None:
            if is_field and arguments[-1] not in INT:
                self.error(f"{text}: of what size")

        if name in INT | {"fileoff"}:
            want(0)
        elif name == "vma":
            want(0)
        elif name == "const":
            if want(1 + number):
                base()
                if not CONST.fullmatch(arguments[0]):
                    self.error(f"no constant: {text}")
        elif name == "flags":
            if want(1 + number):
                base()
                self.used.add(arguments[0])
                if arguments[0] not in self.flags | FLAGS:
                    self.error(f"{arguments[0]} is not declared")
        elif name in ("len", "bytesize"):
            if want(1 + number):
                base()
                if arguments[0] not in [*names, "parent"]:
                    self.error(f"{text} is about nothing")
        elif name in ("ptr", "ptr64"):
            if want(2):
                if arguments[0] not in ("in", "out", "inout"):
                    self.error(f"{text}: which way")
                self.type(arguments[1], names, arguments[0], True, taken, seen)
        elif name == "array":
            if want(1, 2):
                self.type(arguments[0], names, direction, True, taken, seen)
                if len(arguments) == 2 and not re.fullmatch(r"[1-9][0-9]*", arguments[1]):
                    self.error(f"{text}: how many")
        elif name in self.resources | RESOURCES:
            want(0)
            self.use(name, direction, taken)
        elif name in self.structs:
            want(0)
            self.used.add(name)
            if (name, direction) not in seen:
                seen.add((name, direction))
                fields = self.structs[name]
                for _, of, way in fields:
                    self.type(of, [field for field, _, _ in fields], way or direction, True, taken, seen)
        else:
            self.error(f"{name} is not declared")


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    checker = Checker(path.read_text())
    if wrong := checker.check():
        sys.exit("\n".join(f"{path.name}: {each}" for each in wrong))
    print(f"{path.name}: {len(checker.calls)} calls, {len(checker.structs)} structs, {len(checker.resources)} resources")


main()
