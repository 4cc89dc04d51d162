# SPDX-License-Identifier: GPL-2.0-only
"""Sees that no safe function of kapi takes what only unsafe code can vouch for. Usage: signatures.py FOLDER

Safe code may have any number and any raw pointer. So a function that it can call, a method of a trait that it can
use, and a struct that it can fill in, must not take a bare physical address or a raw pointer: a witness type is
taken instead, or the function is unsafe. Prints each breach as FILE:LINE: TEXT and fails.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

_COMMENT = re.compile(r'//[^\n]*|"(?:[^"\\]|\\.)*"')
_PUBLIC = r"pub(?:\((?:crate|in [\w:]+)\))?\s+"
_FN = re.compile(rf"(?P<public>{_PUBLIC})?(?P<words>(?:(?:const|async|unsafe|extern \"\")\s+)*)fn\s+(?P<name>\w+)")
_TRAIT = re.compile(rf"{_PUBLIC}(?P<unsafe>unsafe\s+)?trait\s+\w+[^{{;]*\{{")
_FIELD = re.compile(rf"^\s*{_PUBLIC}(?P<param>\w+\s*:\s*[^\n]*?),?\s*$", re.MULTILINE)
_PHYSICAL = re.compile(r"(^|_)(phys|paddr|pfn)(_addr(ess)?)?$")
_NUMBER = re.compile(r"^(u64|usize|bindings::phys_addr_t|phys_addr_t)$")
_POINTER = re.compile(r"\*(const|mut)\b|\bNonNull\s*<|\bphys_addr_t\b")


def code_of(text: str) -> str:
    """The text without comments and what is in quotes; places stay the same."""

    def blank(match: re.Match[str]) -> str:
        quoted = match[0].startswith('"')
        return '""'.ljust(len(match[0])) if quoted else " " * len(match[0])

    return _COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match[0]) if "\n" in match[0] else blank(match), text)


def enclosed(code: str, start: int, pair: str) -> int:
    """Where what opens at `start` closes."""
    depth = 0
    for place in range(start, len(code)):
        depth += (code[place] == pair[0]) - (code[place] == pair[1])
        if not depth:
            return place
    return len(code)


def parameters(text: str) -> Iterator[str]:
    """The parts of a parameter list, which generics and closures with commas in them are no end of."""
    depth, part = 0, ""
    for place, char in enumerate(text):
        arrow = char == ">" and text[place - 1 : place] == "-"
        depth += (char in "<([") - (char in ">)]" and not arrow)
        if char == "," and not depth:
            yield part.strip()
            part = ""
        else:
            part += char
    if part.strip():
        yield part.strip()


def vouched(parameter: str) -> bool:
    """Whether safe code may give any value of this parameter."""
    name, _, kind = parameter.partition(":")
    name, kind = name.split()[-1] if name.split() else "", kind.strip()
    return not (_POINTER.search(kind) or (_PHYSICAL.search(name) and _NUMBER.match(kind)))


def after_generics(code: str, place: int) -> int:
    """Where the parameter list of a function begins whose name ends at `place`."""
    if code[place : place + 1] != "<":
        return code.index("(", place)
    depth = 0
    while place < len(code):
        depth += (code[place] == "<") - (code[place] == ">" and code[place - 1] != "-")
        place += 1
        if not depth:
            break
    return code.index("(", place)


def functions(code: str) -> Iterator[tuple[int, str]]:
    """The breaches among functions and methods of traits."""
    traits = [(match.end(), enclosed(code, match.end() - 1, "{}")) for match in _TRAIT.finditer(code)]
    for match in _FN.finditer(code):
        in_trait = any(begin <= match.start() < end for begin, end in traits)
        if "unsafe" in match["words"] or not (match["public"] or in_trait):
            continue
        start = after_generics(code, match.end())
        for parameter in parameters(code[start + 1 : enclosed(code, start, "()")]):
            if not vouched(parameter):
                yield match.start(), f"fn {match['name']} is safe and takes `{' '.join(parameter.split())}`"


def fields(code: str) -> Iterator[tuple[int, str]]:
    """The breaches among fields that safe code can set."""
    for match in _FIELD.finditer(code):
        if not vouched(match["param"]):
            yield match.start("param"), f"safe code can set `{match['param']}`"


def main(folder: Path) -> int:
    breaches = 0
    for path in sorted(folder.rglob("*.rs")):
        code = code_of(path.read_text())
        for place, text in [*functions(code), *fields(code)]:
            breaches += 1
            print(f"{path}:{code.count(chr(10), 0, place) + 1}: {text}")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
