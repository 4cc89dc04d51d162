#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Makes Documentation/reasons.rst of kapi/reason/table.rs.

Usage: reasons.py [--check] [TREE]. With --check it writes nothing, and fails if the page is not what it
would write, if the table contradicts itself, or if no test asserts a reason that one could."""

import re
import sys
from pathlib import Path
from typing import NamedTuple

HEAD = """.. SPDX-License-Identifier: GPL-2.0-only

.. Made by scripts/reasons.py of kapi/reason/table.rs. Do not edit.

=======
Reasons
=======

An ioctl that fails returns an error number, of which there are few. Beside it the module records a reason, which
``/proc/PID/fdinfo/N`` of the open of ``/dev/iommu`` and the tracepoint ``refused`` show; see :doc:`observing`. Codes and
names of reasons stay the same from one version to the next; texts may be improved. N is the number that is shown with
the reason; a text without N has none. *Others* are errors of the kernel or of the IOMMU's driver, which are returned as
they are.
"""

_ENTRY = re.compile(
    r"^    (?P<ident>\w+) = 0x(?P<code>[0-9a-f]{4}), \[(?P<errors>[A-Z0-9 ]+?)(?P<others> \.\.)?\], "
    r'c"(?P<name>[a-z-]+)",\n\s+"(?P<text>(?:[^"\\]|\\\n)*)";$', re.M)
_TITLE = re.compile(r"^    // (.+)\.$", re.M)
# Lines of the table that begin an entry, to notice those that do not parse.
_BEGIN = re.compile(r"^    \w+ = ", re.M)

# The reasons that no test asserts, each with the cause.
UNTESTED = {
    "no-memory": "only where an allocation fails, in a suite that counts calls and does not look at each",
    "killed": "the caller is gone before it could look",
    "impossible": "a mistake in the module",
    "object-ids": "needs 2^31 objects",
    "ioas-many-ranges": "the C module has no such limit",
    "map-driver": "the mock IOMMU and the emulated ones fill their page tables",
    "map-no-process": "every caller has memory",
    "map-process-gone": "the process has to end while its memory is mapped and before it is pinned",
    "unmap-busy": "two calls at a time",
    "unmap-access": "the driver of the mock gives up its accesses",
    "unmap-cut-device": "no container of a test has device memory",
    "unmap-cut-in-use": "the type of a container has large pages turned off before memory is mapped",
    "access-unmapping": "two calls at a time",
    "access-attached": "vfio and the mock attach once",
    "access-detached": "the mock does not use an access that it has detached",
    "access-busy": "two calls at a time",
    "phys-unsupported": "the kernels of the tests have CONFIG_VFIO_NOIOMMU",
    "phys-revoked": "no device without an IOMMU of a test exports memory",
    "process-busy": "two calls at a time",
    "bind-incoherent": "the emulated machines are coherent",
    "bind-no-group": "vfio has given the device a group",
    "bind-owner": "vfio owns the group already",
    "attach-group": "no group of a test's machine has two devices",
    "attach-faults": "no emulated virtual function has page requests",
    "attach-msi": "the IOMMU's driver would be wrong",
    "attach-regions": "the kernel would be wrong",
    "hwpt-coherency": "the emulated machines are coherent",
    "hwpt-page-size": "no IOMMU's smallest page is larger than the CPU's here",
    "hwpt-tracking": "the drivers turn it on and off",
    "vdevice-unbound": "two calls at a time; later the device has no id any more",
    "veventq-write": "the file of an event queue cannot be written, so the kernel refuses first",
    "hwpt-bitmap": "bits that cannot be written are lost without an error, as on the C module",
}


class Reason(NamedTuple):
    """A line of the table."""

    ident: str
    code: int
    errors: list[str]
    name: str
    text: str


def parse(source: str) -> list[tuple[str, list[Reason]]]:
    """The areas, each with its title and reasons."""
    areas: list[tuple[str, list[Reason]]] = []
    marks = sorted([*_TITLE.finditer(source), *_ENTRY.finditer(source)], key=lambda match: match.start())
    for match in marks:
        if match.re is _TITLE:
            areas.append((match[1], []))
            continue
        text = re.sub(r"\\\n\s*", "", match["text"])
        errors = match["errors"].split() + (["others"] if match["others"] else [])
        areas[-1][1].append(Reason(match["ident"], int(match["code"], 16), errors, match["name"], text))
    return areas


def mistakes(source: str, areas: list[tuple[str, list[Reason]]]) -> list[str]:
    """What is wrong with the table."""
    reasons = [reason for _, area in areas for reason in area]
    wrong = []
    if len(reasons) != len(_BEGIN.findall(source)):
        wrong.append(f"{len(_BEGIN.findall(source))} entries, of which {len(reasons)} can be read")
    for title, area in areas:
        if len({reason.code >> 8 for reason in area}) != 1:
            wrong.append(f"{title}: more than one area of codes")
    for field in ("code", "name"):
        values = [getattr(reason, field) for reason in reasons]
        wrong += [f"{field} {value} twice" for value in {v for v in values if values.count(v) > 1}]
    for reason in reasons:
        if re.sub(r"(?<!^)(?=[A-Z])", "-", reason.ident).lower() != reason.name:
            wrong.append(f"{reason.ident} is called {reason.name}")
        if reason.text.count("{") > 1 or re.search(r"\{(?!\}|:#x\})", reason.text):
            wrong.append(f"{reason.name}: the text has more than one number, or one in another form")
    return wrong


def _sources(tree: Path) -> list[Path]:
    """The files of the module that refuse calls."""
    folders = ("abi", "uapi", "compat", "viommu", "device", "hwpt", "ioas", "object", "drivers", "kapi")
    return [path for folder in folders for path in (tree / folder).rglob("*.rs")]


def unused(tree: Path, areas: list[tuple[str, list[Reason]]]) -> list[str]:
    """Reasons that no code uses."""
    source = "".join(path.read_text() for path in _sources(tree))
    used = set(re.findall(r"\bReason::(\w+)", source))
    return [f"no code uses {reason.ident}" for _, area in areas for reason in area if reason.ident not in used]


def unlisted(tree: Path, areas: list[tuple[str, list[Reason]]]) -> list[str]:
    """Errors that code returns with a reason and the table does not list for it."""
    listed = {reason.ident: reason.errors for _, area in areas for reason in area}
    pattern = re.compile(r"\bReason::(\w+)\s*\.errno\(\s*(E[A-Z0-9]+)\b")
    found = {match.groups() for path in _sources(tree) for match in pattern.finditer(path.read_text())}
    return [f"{ident} is returned with {error}, which its line does not list" for ident, error in sorted(found)
            if "others" not in listed.get(ident, ["others"]) and error not in listed[ident]]


def untested(tree: Path, areas: list[tuple[str, list[Reason]]]) -> list[str]:
    """Reasons that no test program names, but for those of UNTESTED, and what is wrong with that list."""
    source = "".join(path.read_text() for path in (tree / "selftests/guest").glob("*.c"))
    names = {reason.name for _, area in areas for reason in area}
    tested = names & set(re.findall(r'"([a-z-]+)"', source))
    return (
        [f"no test asserts {name}" for name in sorted(names - tested - UNTESTED.keys())]
        + [f"a test asserts {name}, which is listed as untested" for name in sorted(tested & UNTESTED.keys())]
        + [f"{name} is listed as untested and is no reason" for name in sorted(UNTESTED.keys() - names)]
    )


def page(areas: list[tuple[str, list[Reason]]]) -> str:
    """The page."""
    out = [HEAD]
    for title, area in areas:
        rows = [("code", "name", "error", "text")]
        for reason in area:
            text = reason.text.replace("{:#x}", "N").replace("{}", "N")
            rows.append((f"0x{reason.code:04x}", f"``{reason.name}``", ", ".join(reason.errors), text))
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        room = 120 - sum(widths) - 6
        border = "  ".join("=" * width for width in (*widths, room))
        out.append(f"{title}\n{'=' * len(title)}\n\n{border}\n")
        for number, row in enumerate(rows):
            lines, line = [], ""
            for word in row[3].split(" "):
                if line and len(line) + 1 + len(word) > room:
                    lines.append(line)
                    line = word
                else:
                    line = f"{line} {word}".strip()
            lines.append(line)
            for place, line in enumerate(lines):
                cells = row[:3] if place == 0 else ("", "", "")
                # A row of a simple table whose first cell is empty continues the one before it.
                out[-1] += "  ".join(f"{cell:{width}}" for cell, width in zip(cells, widths)) + f"  {line}\n"
            if number == 0:
                out[-1] += border + "\n"
        out[-1] += border + "\n"
    return "\n".join(out)


def main(arguments: list[str]) -> int:
    """Returns the exit status."""
    check = "--check" in arguments
    names = [argument for argument in arguments if argument != "--check"]
    tree = Path(names[0]) if names else Path(__file__).resolve().parent.parent
    source = (tree / "kapi/reason/table.rs").read_text()
    areas = parse(source)
    wrong = mistakes(source, areas) + unused(tree, areas) + unlisted(tree, areas) + untested(tree, areas)
    target = tree / "Documentation/reasons.rst"
    new = page(areas)
    if not check and not wrong:
        target.write_text(new)
    elif check and (not target.exists() or target.read_text() != new):
        wrong.append("Documentation/reasons.rst is out of date: run scripts/reasons.py")
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
