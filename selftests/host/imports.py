#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Sees that the imports of the Rust files keep to the design.

Usage: imports.py [TREE]. Prints a line for each breach, which begins with the name of the check.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = "iommufd_rs.rs"

# Which part may import from which, besides itself.
MAY_KNOW = {
    "abi": "observe uapi compat viommu device hwpt drivers ioas object kapi ffi",
    "observe": "uapi compat viommu device hwpt ioas object kapi",
    "uapi": "compat viommu device hwpt ioas object kapi",
    "compat": "viommu device hwpt ioas object kapi",
    "viommu": "compat device hwpt drivers ioas object kapi",
    "device": "compat viommu hwpt drivers ioas object kapi",
    "hwpt": "compat viommu device drivers ioas object kapi",
    "drivers": "kapi",
    "ioas": "object kapi",
    "object": "kapi",
    "kapi": "ffi",
    "ffi": "",
}

_USE = re.compile(r"^(?:#\[[^\n]*\]\n)?[ \t]*(?:pub(?:\([a-z]+\))? )?use ([^;]+);", re.M)
_MOD = re.compile(r"^(?:pub(?:\([a-z ]+\))? )?mod ([a-z0-9_]+);", re.M)
_PATH = re.compile(r"\b(?:crate|super)(?:::[A-Za-z0-9_]+)+")


_INLINE = re.compile(r"^(?:pub(?:\([a-z]+\))? )?mod \w+ \{.*?^\}", re.M | re.S)


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def strip(text: str) -> str:
    """The code without comments and what is in quotes. Lines stay."""
    text = re.sub(r'"(?:[^"\\\n]|\\.)*"', '""', text)
    return re.sub(r"//[^\n]*", "", text)


def paths_of(tree: str) -> list[str]:
    """The paths that a use tree names, without what they are called here."""
    tree = " ".join(tree.split())

    def split(text: str) -> Iterator[str]:
        depth, item = 0, ""
        for char in text + ",":
            depth += (char == "{") - (char == "}")
            if char == "," and depth == 0:
                if item.strip():
                    yield item.strip()
                item = ""
            else:
                item += char

    def expand(text: str) -> Iterator[str]:
        brace = text.find("{")
        if brace < 0:
            yield text.split(" as ")[0]
            return
        prefix = text[:brace]
        for item in split(text[brace + 1 : text.rindex("}")]):
            if item.split(" as ")[0] == "self":
                yield prefix.removesuffix("::")
            else:
                yield from (prefix + path for path in expand(item))

    return list(expand(tree))


class Crate:
    """The files of the module, and which of them each imports from."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.files: dict[str, str] = {}
        self.modules: dict[str, str] = {}
        self.exports: dict[str, str] = {}
        for file in self._find():
            self.files[file] = (top / file).read_text()
            self.modules[self._module(file)] = file
        for file, text in self.files.items():
            if file.endswith("mod.rs"):
                self._read_exports(file, strip(text))
        self.named = {file: list(self._named(file)) for file in self.files}
        self.edges = {file: self._edges(file) for file in self.files}

    def _find(self) -> Iterator[str]:
        skipped = {"build", "target", ".git", "patches", "host"}
        for path in sorted(self.top.rglob("*.rs")):
            file = path.relative_to(self.top)
            if not skipped & set(file.parts) and "generated" not in file.name:
                yield str(file)

    @staticmethod
    def _module(file: str) -> str:
        parts = ["crate", *file.removesuffix(".rs").split("/")]
        if file == ROOT:
            return "crate"
        if parts[-1] == "mod":
            parts.pop()
        return "::".join(parts)

    def _absolute(self, file: str, path: str) -> str:
        module = self._module(file)
        while path.startswith("super::"):
            module = module.rpartition("::")[0]
            path = path.removeprefix("super::")
            if not path.startswith("super::"):
                return f"{module}::{path}"
        return path

    def _read_exports(self, file: str, code: str) -> None:
        """What a folder's mod.rs re-exports is its files' own."""
        module = self._module(file)
        children = set(_MOD.findall(code))
        for match in re.finditer(r"^pub(?:\([a-z]+\))? use ([^;]+);", code, re.M):
            for path in paths_of(match[1]):
                if path.split("::")[0] in children:
                    path = f"{module}::{path}"
                name = path.rpartition("::")[2]
                self.exports[f"{module}::{name}"] = path

    def resolve(self, path: str) -> str | None:
        """The file that defines what a path names."""
        parts = path.split("::")
        for length in range(len(parts), 0, -1):
            prefix = "::".join(parts[:length])
            target = self.exports.get(prefix)
            if target and target != prefix:
                return self.resolve("::".join([target, *parts[length:]]))
            if prefix in self.modules:
                return self.modules[prefix]
        return None

    def _named(self, file: str) -> Iterator[tuple[int, str]]:
        """The paths that a file names, from the root of the crate, with their lines."""
        code = strip(self.files[file])
        inline = [match.span() for match in _INLINE.finditer(code)]
        # What a folder re-exports is its files' own.
        uses = (match for match in _USE.finditer(code) if not (file.endswith("mod.rs") and match[0].startswith("pub")))
        found = [(match.start(), path) for match in uses for path in paths_of(match[1])]
        rest = _USE.sub(_blank, code)
        found += [(match.start(), match[0]) for match in _PATH.finditer(rest)]
        for start, path in found:
            # In a module that is written inside the file, `super` is the file.
            if not path.startswith("super::") or not any(a <= start < b for a, b in inline):
                line = code.count("\n", 0, start + 1) + 1
                yield line, self._absolute(file, path)

    def _edges(self, file: str) -> dict[str, int]:
        """The files that a file names, each with a line where it does."""
        edges: dict[str, int] = {}
        for line, path in self.named[file]:
            target = self.resolve(path)
            if target and target not in (file, ROOT):
                edges.setdefault(target, line)
        return edges


def part(file: str) -> str:
    return file.split("/")[0]


def arrows(crate: Crate) -> Iterator[str]:
    """Imports go downwards."""
    for file, edges in crate.edges.items():
        if part(file) in ("selftests", ROOT):
            continue
        if part(file) not in MAY_KNOW:
            yield f"{file}: nothing says what {part(file)}/ may import"
            continue
        for target, line in edges.items():
            known = part(target)
            # What is behind the fence calls C, wherever it is.
            if known == "ffi" and fenced(file):
                continue
            # The test module hangs on the crate at a few places that are compiled for it alone.
            if known != "selftests" and known != part(file) and known not in MAY_KNOW[part(file)].split():
                yield f"{file}:{line}: {part(file)}/ must not import from {known}/"


def fenced(file: str) -> bool:
    return part(file) in ("abi", "kapi", "ffi") or re.fullmatch(r"drivers/[^/]+/raw\.rs", file) is not None


def bindings(crate: Crate) -> Iterator[str]:
    """Only what is inside the fence imports bindings."""
    for file, named in crate.named.items():
        for line, path in named:
            if not fenced(file) and ("bindings" in path.split("::") or path.startswith("crate::ffi")):
                yield f"{file}:{line}: {path}"


def vendors(crate: Crate) -> Iterator[str]:
    """Vendors are known to drivers/ alone, and to tests of a crate of their own."""
    for file, named in crate.named.items():
        if file.startswith("selftests/models/"):
            continue
        for line, path in named:
            parts = path.split("::")
            vendor = parts[2] if parts[:2] == ["crate", "drivers"] and len(parts) > 2 else ""
            if vendor and part(file) != "drivers" and (crate.top / "drivers" / vendor).is_dir():
                yield f"{file}:{line}: {path}"


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components that have more than one member (Tarjan)."""
    found: list[list[str]] = []
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for target in sorted(edges.get(node, ())):
            if target not in order:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], order[target])
        if low[node] == order[node]:
            circle = []
            while True:
                circle.append(stack.pop())
                if circle[-1] == node:
                    break
            if len(circle) > 1:
                found.append(sorted(circle))

    sys.setrecursionlimit(10_000)
    for node in sorted(edges):
        if node not in order:
            visit(node)
    return found


def folder(file: str) -> str:
    """The folder of a file; a file of kapi/ itself stands for itself."""
    path = Path(file)
    if str(path.parent) == "kapi" and path.name != "mod.rs":
        return file
    return str(path.parent)


def folders(crate: Crate) -> Iterator[str]:
    """No circle among folders."""
    graph: dict[str, set[str]] = {}
    for file, edges in crate.edges.items():
        if file == ROOT:
            continue
        for target in edges:
            # A folder may use what it lies in, and is declared there.
            here, there = folder(file), folder(target)
            if here != there and part(target) != "selftests":
                graph.setdefault(here, set()).add(there)
    for circle in circles(graph):
        yield f"circle: {', '.join(circle)}"


def files(crate: Crate) -> Iterator[str]:
    """No circle among files."""
    graph = {file: set(edges) for file, edges in crate.edges.items() if file != ROOT}
    for circle in circles(graph):
        yield f"circle: {', '.join(circle)}"
        for source in circle:
            for target in sorted(graph[source] & set(circle)):
                yield f"  {source}:{crate.edges[source][target]}: imports from {target}"


def style(crate: Crate) -> Iterator[str]:
    """Imports are in vertical groups: Documentation/rust/coding-guidelines.rst of the kernel."""
    statement = re.compile(r"^((?:#\[[^\n]*\]\n)?(?:pub(?:\([a-z]+\))? )?)use ([a-z_0-9]+)::([^;]*);", re.M)
    for file, text in crate.files.items():
        seen = set()
        for match in statement.finditer(text):
            line = text.count("\n", 0, match.start(2)) + 1
            key = (match[1], match[2])
            if key in seen and match[2] in ("crate", "super", "kernel", "core"):
                yield f"{file}:{line}: a second group of imports from {match[2]}"
            seen.add(key)
            for body in re.finditer(r"\{([^{}]*)\}", match[3]):
                items = body[1].strip("\n").split("\n")
                if not items[-1].rstrip().endswith("//") and not items[-1].strip() == "":
                    yield f"{file}:{line}: the last item of a group is followed by `, //`"
                if any(item.partition("//")[0].rstrip().rstrip(",").count(",") for item in items):
                    yield f"{file}:{line}: one item a line"


def main(top: Path) -> None:
    crate = Crate(top)
    for check in (style, bindings, arrows, vendors, folders, files):
        for breach in check(crate):
            print(f"{check.__name__}: {breach}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2]))
