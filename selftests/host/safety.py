# SPDX-License-Identifier: GPL-2.0-only
"""Sees that SAFETY comments can be checked. Usage: safety.py [TREE]

A SAFETY comment is one sentence, or a list with a sentence for each requirement: one fact each. It refers to no other
comment, since that one may be changed or moved. What it names in backticks is in the code: a file of the tree, or
each word of a path. So is what doc comments link to. Prints each breach as FILE:LINE: TEXT.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

SKIPPED = {"build", "target", ".git", "patches", "__pycache__", "selftests"}

_SAFETY = re.compile(r"//\s*SAFETY:(.*)$")
_COMMENT = re.compile(r"^\s*//(?![/!])\s?(.*)$")
_OTHER = re.compile(r"//\s*(PANIC|INVARIANT|ORDERING|CAST):")
# A sentence ends with a full stop that is followed by the next one.
_NEXT = re.compile(r"[.!?]\s+(?=[A-Z`(])")
_ELSEWHERE = re.compile(
    r"\b(as|see) (above|below|before|there)\.?$|^(as|like) (for|in|with) |^(as )?above\b|^the same\b|^ditto", re.I
)
_EMPTY = re.compile(
    r"^(by the (type'?s? |type's )?(invariants?|safety requirements)( of this function)?|required of the caller"
    r"|the caller guarantees (it|that|this))$",
    re.I,
)
_NAMED = re.compile(r"`([^`]+)`")
# A link of a doc comment, but for those to the kernel.
_LINK = re.compile(r"\[`(\w+)[^`]*`\](?!\((?:srctree|kernel)\b)")
_FILES = re.compile(r"^(?P<folder>[\w/]+/)?(?:\{(?P<names>[\w,]+)\}|(?P<name>\w+))\.(?P<ending>rs|c|h|py|sh)$")
_STRIPPED = re.compile(r'"(?:[^"\\\n]|\\.)*"|//[^\n]*')


def sources(top: Path) -> Iterator[Path]:
    for path in sorted(top.rglob("*")):
        parts = set(path.relative_to(top).parts)
        if path.suffix in {".rs", ".c", ".h"} and not SKIPPED & parts and "generated" not in path.name:
            yield path


def comments(lines: list[str]) -> Iterator[tuple[int, str]]:
    """The number of the first line and the text of each SAFETY comment; lines of a list begin with a newline."""
    number = 0
    while number < len(lines):
        match = _SAFETY.search(lines[number])
        first, number = number, number + 1
        if not match:
            continue
        text = match[1].strip()
        while number < len(lines) and not _OTHER.search(lines[number]) and not _SAFETY.search(lines[number]):
            more = _COMMENT.match(lines[number])
            if not more:
                break
            text += ("\n" if more[1].startswith("- ") else " ") + more[1].strip()
            number += 1
        yield first + 1, text.strip()


def wrong(text: str, words: set[str], files: set[str]) -> Iterator[str]:
    """What is wrong with a comment."""
    facts = [fact.removeprefix("- ").strip() for fact in text.split("\n")]
    if len(facts) > 1 and not facts[0].startswith(tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ`")):
        facts = facts[1:] if not facts[0] else facts
    for fact in facts:
        if not fact:
            yield "says nothing"
        if _NEXT.search(fact):
            yield f"has more than one sentence: {fact}"
        if _ELSEWHERE.search(fact.rstrip(".")):
            yield f"refers to another comment: {fact}"
        if _EMPTY.search(fact.rstrip(".")):
            yield f"does not say what: {fact}"
        for name in _NAMED.findall(fact):
            file = _FILES.match(name)
            if file:
                names = (file["names"] or file["name"]).split(",")
                paths = [f"{file['folder'] or ''}{one}.{file['ending']}" for one in names]
                missing = [path for path in paths if not any(f"/{known}".endswith(f"/{path}") for known in files)]
            else:
                missing = [word for word in re.findall(r"[A-Za-z_]\w+", name) if word not in words]
            if missing:
                yield f"names {', '.join(missing)}, which is nowhere"


def main(top: Path) -> None:
    paths = list(sources(top))
    words = {"alloc", "core", "kernel", "std"}
    for path in paths:
        words |= set(re.findall(r"\w+", _STRIPPED.sub("", path.read_text())))
    files = {str(path.relative_to(top)) for path in paths}
    for path in paths:
        if path.suffix != ".rs":
            continue
        here, lines = path.relative_to(top), path.read_text().split("\n")
        for number, text in comments(lines):
            for what in wrong(text, words, files):
                print(f"{here}:{number}: a SAFETY comment {what}")
        for number, line in enumerate(lines, 1):
            for name in _LINK.findall(line) if line.lstrip().startswith(("///", "//!")) else []:
                if name not in words:
                    print(f"{here}:{number}: a comment links to {name}, which is nowhere")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
