#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Checks that the pages are true of the tree: files, goals of make, suites, types and fields that they
name are there, and each page and goal is on a page that is read first.

Usage: docs.py [TREE]. Prints what is wrong, and fails if anything is."""

import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

TREE = Path(sys.argv[1] if len(sys.argv) > 1 else __file__.rsplit("/", 3)[0])
README = TREE / "README.md"
PAGES = [README, TREE / "CHANGELOG.md", *sorted((TREE / "Documentation").glob("*.rst"))]
RUST = [path for path in sorted(TREE.rglob("*.rs")) if path.relative_to(TREE).parts[0] not in ("build", "target")]

# Of the kernel's source.
KERNEL_FOLDERS = ("drivers/iommu", "Documentation/rust")
KERNEL_GOALS = {"prepare", "olddefconfig", "rustavailable", "defconfig", "allnoconfig", "menuconfig"}

# `text` or ``text``, of one line.
_LITERAL = re.compile(r"``([^`\n]+)``|(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
_DOC = re.compile(r":doc:`(?:[^`<]*<)?([a-z]+)>?`")
# :doc:`page`, "a section's title", or :doc:`page`, step 1. README names a page by a link.
_PLACE = re.compile(r"(?::doc:`(?:[^`<]*<)?|\]\(Documentation/)([a-z]+)(?:>?`|\.rst\)),\s+"
                    r"(?:\"([^\"]+)\"|step\s+(\d+))")
_UNDERLINE = re.compile(r"=+|-+")
# In columns, of a page of reStructuredText.
LINE_LIMIT = 130
_PAGE = re.compile(r"Documentation/[a-z-]+\.rst")
# In a block, which reStructuredText indents, or within backticks.
_MAKE = r"(?:^%s|`|\$ |sudo )make ([a-z][a-z_-]*)\b(?![=/])"
_SUITES = re.compile(r'SUITES="([^"]+)"|SUITES=([a-z][a-z0-9-]+)|SUITE=([a-z][a-z0-9-]+)')
_RUST_NAME = re.compile(r"^([A-Z]\w+)::([a-z_]\w*)(?:\(\))?$")
# The name that a lock or wait queue has for lockdep.
_LOCK = re.compile(r'"([A-Z]\w+::[a-z_]\w*)"')
# A part of a path that stands for many, or for one that the reader chooses.
_PLACEHOLDER = re.compile(r"[<>*$]|\bNAME\b|\.\.\.")


def literals(text: str) -> Iterator[str]:
    """What is set as code within a line."""
    for match in _LITERAL.finditer(text):
        yield match[1] or match[2]


def files(text: str) -> Iterator[str]:
    """Names of files and folders of the tree that are not there."""
    tops = {path.name for path in TREE.iterdir() if path.is_dir() and path.name not in ("build", ".git")}
    for literal in literals(text):
        path = literal.split(" ")[0].rstrip("/")
        if "/" in literal and path.split("/")[0] in tops and not _PLACEHOLDER.search(path):
            if not (TREE / path).exists() and not path.startswith(KERNEL_FOLDERS):
                yield f"there is no {path}"
    for link in _LINK.findall(text):
        if not (TREE / link).exists():
            yield f"there is no {link}, to which it links"


def goals_named(text: str) -> Iterator[str]:
    """Goals of make that a page names and the Makefile has not."""
    goals = goals_of((TREE / "Makefile").read_text()) | KERNEL_GOALS
    block = r"[ \t]+" if text.startswith(".. ") else ""
    for goal in re.findall(_MAKE % block, text, re.M):
        if goal not in goals:
            yield f"there is no goal {goal} of make"


def goals_of(makefile: str) -> set[str]:
    return {goal for line in re.findall(r"^\.PHONY: (.*)$", makefile, re.M) for goal in line.split()}


def suites(text: str) -> Iterator[str]:
    """Suites that a page names by SUITES= or SUITE= and that are not there."""
    for groups in _SUITES.findall(text):
        for name in " ".join(groups).split():
            if name not in ("a", "b", "name", "all", "rest", "kunit") and not (TREE / "selftests/suites" / name).is_dir():
                yield f"there is no suite {name}"


@cache
def rust_source() -> dict[Path, str]:
    return {path: path.read_text() for path in RUST}


@cache
def rust_defines() -> tuple[set[str], set[str]]:
    """The types of the Rust source, and its functions and fields."""
    source = "\n".join(rust_source().values())
    return (set(re.findall(r"\b(?:struct|enum|trait|type) (\w+)", source)),
            set(re.findall(r"\bfn (\w+)|\b(\w+)(?=:| <-)", source)))


def rust_names(text: str) -> Iterator[str]:
    """``Type::field`` and ``Type::function()`` that no Rust file defines."""
    types, names = rust_defines()
    for literal in literals(text):
        if match := _RUST_NAME.match(literal):
            kind, name = match.groups()
            if kind not in types:
                yield f"there is no type {kind}"
            elif (name, "") not in names and ("", name) not in names:
                yield f"there is no {name} in any type"


def locks() -> Iterator[str]:
    """Locks that the source makes and the page on locking does not have."""
    page = (TREE / "Documentation/locking.rst").read_text()
    names = set()
    for path, source in rust_source().items():
        if path.relative_to(TREE).parts[0] != "selftests" or "mock" in path.parts:
            # Not those of examples in comments.
            names |= set(_LOCK.findall(re.sub(r"^\s*//.*$", "", source, flags=re.M)))
    if len(names) < 20:
        yield f"docs.py: it found only {len(names)} locks: their form has changed"
    yield from (f"Documentation/locking.rst: lacks the lock {name}" for name in sorted(names)
                if f"``{name}``" not in page)


def titles_of(lines: list[str]) -> list[int]:
    """The indices of the titles of reStructuredText, each of which has a line below it."""
    return [at for at, (title, line) in enumerate(zip(lines, lines[1:]))
            if title.strip() and title[0] not in " \t=-" and _UNDERLINE.fullmatch(line)]


def titles(text: str) -> Iterator[str]:
    """Titles that are longer than the line below them or follow text directly, and sections without text."""
    lines = text.splitlines() if text.startswith(".. ") else []
    at_title = titles_of(lines)
    for at in at_title:
        if len(lines[at + 1]) < len(lines[at]):
            yield f"the line below '{lines[at]}' is too short"
        if at and lines[at - 1].strip() and not _UNDERLINE.fullmatch(lines[at - 1]):
            yield f"there is no empty line above '{lines[at]}'"
        text_at = next((i for i in range(at + 2, len(lines)) if lines[i].strip()), None)
        # The title of a page, which has a line above it too, may be followed by a section.
        if text_at is None or text_at in at_title and not (at and _UNDERLINE.fullmatch(lines[at - 1])):
            yield f"the section '{lines[at]}' has no text"


def form(text: str) -> Iterator[str]:
    """Pages that do not end with one newline, and lines of reStructuredText that are too long."""
    if not text.endswith("\n"):
        yield "there is no newline at the end"
    if text.startswith(".. "):
        for number, line in enumerate(text.splitlines(), 1):
            if len(line.expandtabs()) > LINE_LIMIT:
                yield f"line {number} has more than {LINE_LIMIT} columns"


def doc_links(text: str) -> Iterator[str]:
    """Pages, sections and steps that another page refers to and that are not there."""
    for name in _DOC.findall(text):
        if not (TREE / f"Documentation/{name}.rst").exists():
            yield f"there is no page {name}"
    for name, title, step in _PLACE.findall(text):
        page = TREE / f"Documentation/{name}.rst"
        lines = page.read_text().splitlines() if page.exists() else []
        there = [lines[at] for at in titles_of(lines)]
        if title and " ".join(title.split()) not in there:
            yield f"there is no section '{' '.join(title.split())}' in {name}"
        if step and not any(line.startswith(f"{step}. ") for line in there):
            yield f"there is no step {step} in {name}"


def pages() -> Iterator[str]:
    """Pages that README does not list, and goals of make that neither README nor building.rst has."""
    readme = README.read_text()
    for page in PAGES[1:]:
        if str(page.relative_to(TREE)) not in readme:
            yield f"README.md: does not list {page.relative_to(TREE)}"
    shown = readme + "".join(page.read_text() for page in PAGES)
    for goal in sorted(goals_of((TREE / "Makefile").read_text()) - {"all", "help"}):
        if not re.search(rf"\bmake (?:[a-z_-]+ )*{goal}\b", shown):
            yield f"no page has make {goal}"


def references() -> Iterator[str]:
    """Pages that a script or a comment refers to and that are not there."""
    for folder in ("scripts", "selftests", "tools"):
        for path in sorted((TREE / folder).rglob("*")):
            if path.suffix in ("", ".py", ".sh", ".rs", ".c", ".h", ".ini") and path.is_file() and path.name != "docs_test.sh":
                yield from (f"{path.relative_to(TREE)}: there is no {page}"
                            for page in _PAGE.findall(path.read_text(errors="replace"))
                            if not (TREE / page).exists() and page.count("/") == 1)


def version() -> Iterator[str]:
    """The newest version of the change log is the module's."""
    module = re.search(r"^IOMMUFD_RS_VERSION := (\S+)$", (TREE / "Kbuild").read_text(), re.M)
    heading = re.search(r"^## (\d+\.\d+\.\d+)", (TREE / "CHANGELOG.md").read_text(), re.M)
    if not module or not heading or module[1] != heading[1]:
        yield (f"CHANGELOG.md: the newest version is {heading and heading[1]}, "
               f"that of Kbuild {module and module[1]}")


def main() -> int:
    wrong = [*pages(), *references(), *version(), *locks()]
    for page in PAGES:
        text = page.read_text()
        for check in (files, goals_named, suites, rust_names, titles, form, doc_links):
            wrong += [f"{page.relative_to(TREE)}: {line}" for line in check(text)]
    for line in dict.fromkeys(wrong):
        print(line)
    return 1 if wrong else 0


sys.exit(main())
