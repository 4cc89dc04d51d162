# SPDX-License-Identifier: GPL-2.0-only
"""Makes KUnit tests of the examples in doc comments. Usage: examples.py FOLDER

An example is a block between ``` lines in a doc comment of a Rust file below FOLDER. It becomes a function of
its own, which fails as the example does: by `?`, or by an assertion that does not hold. As in rustdoc, lines
that begin with "# " are a part of the example that the documentation does not show.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

_DOC = re.compile(r"^\s*//[/!] ?(.*)$")

_HEAD = """\
/// The examples of the documentation.
#[allow(dead_code, unused, clippy::all, clippy::undocumented_unsafe_blocks)]
mod examples {
    use kernel::prelude::*;

    macro_rules! assert {
        ($cond:expr $(,)?) => {
            if !$cond {
                pr_err!("{}: does not hold: {}\\n", PLACE, stringify!($cond));
                return Err(EINVAL);
            }
        };
    }
    macro_rules! assert_eq {
        ($left:expr, $right:expr $(,)?) => {
            assert!($left == $right)
        };
    }
"""


def examples(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Each example of a file, with the number of its first line."""
    begin, lines = 0, []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        doc = _DOC.match(line)
        if not doc:
            if begin:
                sys.exit(f"{path}:{begin}: an example without an end")
            continue
        text = doc[1]
        if text.strip() == "```":
            if begin:
                yield begin, lines
            begin, lines = (0, []) if begin else (number + 1, [])
        elif begin:
            lines.append(text[2:] if text.startswith("# ") else "" if text == "#" else text)


def function(name: str, place: str, lines: list[str]) -> str:
    """The example as a function. One that does not say how it ends, ends well."""
    last = next((line for line in reversed(lines) if line.strip()), "")
    if not last.startswith("Ok::"):
        lines = [*lines, "Ok(())"]
    body = "\n".join(f"        {line}".rstrip() for line in lines)
    return f'    pub(super) fn {name}() -> Result {{\n        const PLACE: &str = "{place}";\n{body}\n    }}\n'


def main(folder: Path) -> None:
    functions, tests = [], []
    for path in sorted(folder.rglob("*.rs")):
        place = path.relative_to(folder)
        for line, lines in examples(path):
            name = f"{'_'.join(place.with_suffix('').parts)}_{line}"
            functions.append(function(name, f"{folder.name}/{place}:{line}", lines))
            tests.append(f"    #[test]\n    fn {name}() -> Result {{\n        super::examples::{name}()\n    }}\n")
    print("// SPDX-License-Identifier: GPL-2.0-only")
    print(_HEAD)
    print("\n".join(functions) + "}\n")
    print("#[::kernel::macros::kunit_tests(iommufd_rs_examples)]")
    print("mod example_tests {\n    use kernel::prelude::*;\n")
    print("\n".join(tests) + "}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
