#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Sees that no word of words.txt is in the source or the documentation.

Usage: words.py [TREE]. Prints a line for each word that is found.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

WORDS = "selftests/host/words.txt"
ENDINGS = {".rs", ".c", ".h", ".rst", ".md", ".py", ".sh"}
SKIPPED = {"build", "target", ".git", "patches", "__pycache__"}


def lines_of(file: Path) -> Iterator[str]:
    if file.exists():
        for line in file.read_text().splitlines():
            if line.strip() and not line.startswith("#"):
                yield line


def sources(top: Path) -> Iterator[Path]:
    for path in sorted(top.rglob("*")):
        parts = path.relative_to(top).parts
        if path.suffix in ENDINGS and not SKIPPED & set(parts) and "generated" not in path.name:
            yield path


def main(top: Path) -> None:
    words = [re.split(r"\s{2,}", line, maxsplit=1) for line in lines_of(top / WORDS)]
    patterns = [(re.compile(rf"\b(?:{word})\b"), instead) for word, instead in words]
    any_word = re.compile("|".join(pattern.pattern for pattern, _ in patterns), re.MULTILINE)
    for path in sources(top):
        file = str(path.relative_to(top))
        # The fence's tests write such words on purpose.
        if file == "selftests/host/fence_test.sh":
            continue
        text = path.read_text(errors="replace")
        if not any_word.search(text):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            for pattern, instead in patterns:
                for match in pattern.finditer(line):
                    print(f"{file}:{number}: {match[0]}: write {instead}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2]))
