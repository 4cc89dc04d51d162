# SPDX-License-Identifier: GPL-2.0-only
"""Chooses the version of one package of a list, where a root with the pinned one was made before and the
mirror has moved on since. Usage: apt-cache madison PACKAGE | other.py LIST PACKAGE"""

import sys
from pathlib import Path

from choice import Index
from choice import NoChoice
from choice import Unreachable
from choice import choose
from choice import read_list
from choice import read_madison


def _no_snapshot(day: str) -> Index:
    raise Unreachable("it is asked only when a toolchain root is made")


def main() -> None:
    rules = read_list(Path(sys.argv[1]).read_text())
    rule = next(rule for rule in rules if rule.name == sys.argv[2])
    try:
        choice = choose(rule, read_madison(sys.stdin.read()), _no_snapshot, [])
    except NoChoice as reason:
        sys.exit(str(reason))
    print("\n".join([*choice.steps, f"{rule.name} {choice.version}: {choice.why}"]), file=sys.stderr)
    print(choice.version)


if __name__ == "__main__":
    main()
