#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Makes a Rust file of the examples in kapi's doc comments, each a function, for the compiler to check.

Usage: examples.py [TREE]. Kbuild runs it for CONFIG_IOMMUFD_RS_EXAMPLES=y. An example may use what
kernel::prelude has. What only the test module has is left out.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

_DOC = re.compile(r"^\s*//[/!] ?(.*)$")
_ONLY_TEST = re.compile(r"#\[cfg\(CONFIG_IOMMUFD_RS_TEST\)\]\n(?:pub\([a-z ]+\) )?mod (\w+);")


def sources(kapi: Path) -> Iterator[Path]:
    for mod in sorted(kapi.rglob("mod.rs")):
        left_out = set(_ONLY_TEST.findall(mod.read_text()))
        if mod.parent != kapi and mod.parent.name in set(_ONLY_TEST.findall((kapi / "mod.rs").read_text())):
            continue
        yield mod
        yield from (path for path in sorted(mod.parent.glob("*.rs"))
                    if path != mod and path.stem not in left_out)


def examples(text: str) -> Iterator[tuple[int, list[str]]]:
    """The examples of a file: the number of the first line, and the lines."""
    inside, first, lines = False, 0, []
    for number, line in enumerate(text.splitlines(), 1):
        doc = _DOC.match(line)
        if doc and doc[1].startswith("```"):
            if inside and lines:
                yield first, lines
            inside = not inside and doc[1].strip() in ("```", "```rust")
            first, lines = number + 1, []
        elif inside and doc:
            lines.append(re.sub(r"^# ?", "", doc[1]) if doc[1].startswith("# ") else doc[1])
        elif not doc:
            inside = False


def main(top: Path) -> None:
    count = 0
    for path in sources(top / "kapi"):
        name = re.sub(r"\W", "_", str(path.relative_to(top).with_suffix("")))
        for line, code in examples(path.read_text()):
            count += 1
            print(f"// {path.relative_to(top)}:{line}")
            print(f"fn {name}_{line}() -> Result {{")
            print("\n".join(f"    {text}".rstrip() for text in code))
            if not any(text.startswith("Ok::<") or text == "Ok(())" for text in code):
                print("    Ok(())")
            print("}")
    if not count:
        sys.exit("examples.py: there is no example")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2]))
