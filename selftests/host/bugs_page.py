#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Sees that Documentation/bugs.rst is true of the tests: each suite that it names is there, each test
that it names is one of a program of that suite, or a unit test of the module, and each bug that a test
names is on the page. Each suite runs on the debug kernel, but for those of which the page says that they do not.
Of each test of a bug that this module had it says how it was seen to fail, or that it was not.

Usage: bugs_page.py [TREE]. Prints what is wrong, and fails if anything is."""

import configparser
import re
import sys
from pathlib import Path

TREE = Path(sys.argv[1] if len(sys.argv) > 1 else __file__.rsplit("/", 3)[0])
GUEST = TREE / "selftests/guest"

# ``suite``: "name", "name"; a name may go over the end of a line.
_TESTS = re.compile(r'``([a-z0-9-]+)``: ("[^"]+"(?:, "[^"]+")*)')
# ``kunit``, ``host`` or ``models``: ``name``, ``name``.
_UNIT_TESTS = re.compile(r"``(?:kunit|host|models)``: (``\w+``(?:, ``\w+``)*)")
# A suite, before the names of its tests.
_SUITE = re.compile(r'``([a-z0-9-]+)``: ["`*]')
_NOT_DEBUG = re.compile(r"Only ((?:``[a-z0-9-]+``(?:, | and )?)+) do not\.")
_BUG = re.compile(r"CVE-\d{4}-\d+|finding [A-Z0-9]+")
# What a row says of a bug that was in this module, or a table before its first row.
_WAS_OURS = re.compile(r"[Bb]ugs? that (?:this module|the native backend|the mock of this module) had|had it|"
                       r"mock of this module differs")
_SEEN = "How the tests were seen to fail"


def settings(name: str) -> dict[str, str] | None:
    """A suite's settings and those of the suite that it is like."""
    ini = configparser.ConfigParser(interpolation=None)
    if not ini.read(TREE / "selftests/suites" / name / "suite.ini"):
        return None
    own = dict(ini["suite"])
    return (settings(own["like"]) or {}) | own if "like" in own else own


def sources(program: str) -> str:
    """The text of a program's C files: the one of its name, and those that its rule in the Makefile names."""
    makefile = (GUEST / "Makefile").read_text()
    rule = re.search(rf"^(?:\S+ )*\$\(OUT\)/{re.escape(program)}(?: \S+)*: (.*)$", makefile, re.M)
    needs = f"{program} {rule[1]}" if rule else program
    for name, value in re.findall(r"^(\w+) := (.*)$", makefile, re.M):
        needs = needs.replace(f"$({name})", value)
    patterns = re.findall(r"wildcard ([^)\s]+)\)", needs) + [f"{word}.c" for word in re.findall(r"\w+", needs)]
    files = sorted({file for pattern in patterns for file in GUEST.glob(pattern)})
    return "\n".join(file.read_text() for file in files)


def unit_tests() -> set[str]:
    """The names of the unit tests in the module, selftests/host and selftests/models."""
    files = [file for file in TREE.rglob("*.rs") if "build" not in file.relative_to(TREE).parts]
    return {name for file in files for name in re.findall(r"#\[test\]\s+fn (\w+)", file.read_text())}


def runs_on_debug(suite: str) -> bool:
    """Whether a suite needs no kernel, has a debug kernel, or has another one like it that does."""
    known = (settings(suite) or {}, settings(f"debug-{suite}") or {})
    return known[0].get("kind") == "host" or any("debug" in one.get("kernel", "") for one in known)


def names(text: str) -> list[str]:
    """The tests that a text names, as they are written there."""
    quoted = [re.findall(r'"[^"]+"', tests) for _, tests in _TESTS.findall(text)]
    return sum(quoted, []) + sum((re.findall(r"``\w+``", tests) for tests in _UNIT_TESTS.findall(text)), [])


def not_seen(page: str) -> list[str]:
    """The tests of bugs that this module had of which the page does not say how they were seen to fail, nor
    that they were not."""
    # The title of each is at the end of the one before it.
    sections = re.split(r"\n=+\n", page)
    at = next(number for number, text in enumerate(sections) if text.endswith(f"\n{_SEEN}"))
    seen = " ".join(sections.pop(at + 1).split())
    tests = []
    for section in sections:
        head, *rows = (" ".join(row.split()) for row in re.split(r"^   \* - ", section, flags=re.M))
        tests += [name for row in rows if _WAS_OURS.search(f"{head} {row}") for name in names(row)]
    return [name for name in tests if name not in seen]


def main() -> int:
    text_of_page = (TREE / "Documentation/bugs.rst").read_text()
    page = " ".join(text_of_page.split())
    wrong = []
    count = 0
    for suite, quoted in _TESTS.findall(page):
        known = settings(suite)
        if known is None:
            wrong.append(f"there is no suite {suite}")
            continue
        text = "\n".join(sources(program) for program in known["programs"].split())
        for name in re.findall(r'"([^"]+)"', quoted):
            count += 1
            if f'"{name}"' not in text:
                wrong.append(f'no program of the suite {suite} has a test "{name}"')
    said = _NOT_DEBUG.search(page)
    said = set(re.findall(r"``([a-z0-9-]+)``", said[1] if said else ""))
    without = {suite for suite in _SUITE.findall(page) if settings(suite) and not runs_on_debug(suite)}
    wrong += [f"{suite} runs on no debug kernel" for suite in sorted(without - said)]
    wrong += [f"{suite} is said not to run on the debug kernel" for suite in sorted(said - without)]
    units = unit_tests()
    for quoted in _UNIT_TESTS.findall(page):
        for name in re.findall(r"``(\w+)``", quoted):
            count += 1
            if name not in units:
                wrong.append(f"there is no unit test {name}")
    for file in sorted(GUEST.glob("*.c")):
        for name in re.findall(r'\{ "([^"]+)"', file.read_text()):
            wrong += [f'{bug}, a test of which is "{name}", is not on it' for bug in _BUG.findall(name)
                      if bug not in page]
    wrong += [f"nothing says how {name} was seen to fail" for name in not_seen(text_of_page)]
    if count < 50:
        wrong.append(f"only {count} tests were found on it: its form has changed")
    for line in wrong:
        print(f"Documentation/bugs.rst: {line}")
    return 1 if wrong else 0


sys.exit(main())
