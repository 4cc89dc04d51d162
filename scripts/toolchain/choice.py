# SPDX-License-Identifier: GPL-2.0-only
"""Chooses the versions of a toolchain's packages from what an archive has. `common` says how a list is
written. Nothing here asks a mirror: the caller hands over indexes, and a function for snapshots."""

import re
from collections.abc import Callable
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import replace
from functools import cmp_to_key
from subprocess import run

KERNEL = "linux-source-"
_SERIES = re.compile(r"\d+\.\d+")
_KEYS = ("pin", "series", "seen", "least", "below")

# Package -> its versions, in any order.
Index = dict[str, list[str]]


class Unreachable(Exception):
    """An archive did not answer, or not with an index; the text says how."""


class NoChoice(Exception):
    """No version will do. The text is for the person at the keyboard: what there is, what to type."""


@dataclass(frozen=True)
class Rule:
    """A line of a list."""

    # With its architecture, if the line names one.
    name: str
    # Whether only its files are wanted.
    unpack: bool = False
    pin: str = ""
    series: str = ""
    seen: str = ""
    least: str = ""
    below: str = ""

    @property
    def chosen(self) -> bool:
        """Whether the package's version is a matter of choice."""
        return bool(self.pin or self.least or self.is_kernel)

    @property
    def is_kernel(self) -> bool:
        return self.name.startswith(KERNEL)


@dataclass(frozen=True)
class Choice:
    """A package's version, why it is that one, and what was looked for before."""

    package: str
    version: str
    why: str
    steps: tuple[str, ...] = ()
    # The day of the snapshot that has it, if the archive itself has not.
    snapshot: str = ""
    # For a kernel's source: the folder of patches/ that goes with it.
    patches: str = ""


def read_list(text: str) -> list[Rule]:
    """The lines of a list. Raises `ValueError` for one that says something else."""
    rules = []
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if not words:
            continue
        unpack = words[1:] == ["unpack"]
        settings = dict(word.split("=", 1) for word in words[1:] if not unpack and "=" in word)
        if not unpack and (len(settings) != len(words) - 1 or not set(settings) <= set(_KEYS)):
            raise ValueError(f"a list of packages has a line that means nothing: {line}")
        rules.append(Rule(words[0], unpack, **settings))
    return rules


def read_madison(text: str) -> Index:
    """What `apt-cache madison` printed."""
    index: Index = {}
    for line in text.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) == 3 and not fields[2].endswith("Sources"):
            versions = index.setdefault(fields[0], [])
            if fields[1] not in versions:
                versions.append(fields[1])
    return index


def older(one: str, other: str) -> bool:
    """Whether a version is older than another one, as Debian orders them."""
    return run(["dpkg", "--compare-versions", one, "lt", other]).returncode == 0


def newest_first(versions: Iterable[str]) -> list[str]:
    return sorted(versions, key=cmp_to_key(lambda one, other: 1 if older(one, other) else -1 if older(other, one) else 0))


def number_of(series: str) -> tuple[int, ...]:
    """A kernel's series, so that 7.10 is newer than 7.9."""
    return tuple(int(part) for part in series.split("."))


def kernels(index: Index) -> list[str]:
    """The series of kernel sources in the index, the newest first."""
    series = [name.removeprefix(KERNEL) for name, versions in index.items() if versions and name.startswith(KERNEL)]
    return sorted((one for one in series if _SERIES.fullmatch(one)), key=number_of, reverse=True)


def fill_in(rules: list[Rule], index: Index) -> list[Rule]:
    """Puts the number in place of each %: the highest for which every such package has a version that is
    not too old."""
    patterns = [rule for rule in rules if "%" in rule.name]
    if not patterns:
        return rules
    found = []
    for rule in patterns:
        form = re.compile(re.escape(rule.name).replace("%", r"(\d+)"))
        numbers = {match[1] for name in index if (match := form.fullmatch(name))}
        found.append({number for number in numbers if _good(rule, index.get(rule.name.replace("%", number), []))})
    both = set.intersection(*found)
    if not both:
        names = " ".join(rule.name for rule in patterns)
        have = sorted(name for name in index if any(name.startswith(rule.name.partition("%")[0]) for rule in patterns))
        raise NoChoice(
            f"there is no number for which the archive has all of: {names}, none older than {patterns[0].least}\n"
            f"  it has: {_listed(have)}\n"
            f"  {_ADVICE}"
        )
    number = max(both, key=int)
    return [replace(rule, name=rule.name.replace("%", number)) for rule in rules]


def _good(rule: Rule, versions: list[str]) -> list[str]:
    """Those that are neither older nor newer than the rule allows, the newest first."""
    return [
        version
        for version in newest_first(versions)
        if not (rule.least and older(version, rule.least)) and (not rule.below or older(version, rule.below))
    ]


_ADVICE = (
    "try another mirror: IOMMUFD_RS_MIRROR=http://... make ...; or write a version that there is into the list "
    "in scripts/toolchain"
)


def _listed(words: list[str]) -> str:
    return ", ".join(words) or "none"


def choose(rule: Rule, index: Index, snapshot: Callable[[str], Index], folders: list[str], asked: bool = False) -> Choice:
    """A package's version. `folders` are those of patches/. `asked` is whether a person named this kernel, so
    that no other one will do. Raises `NoChoice`."""
    name = rule.name
    have = newest_first(index.get(name, []))
    steps: list[str] = []

    def found(version: str, why: str, **more: str) -> Choice:
        return Choice(more.pop("package", name), version, why, tuple(steps), **more)

    if rule.pin:
        if rule.pin in have:
            folder = _own_folder(rule, folders)
            return found(rule.pin, "as pinned", patches=folder)
        steps.append(f"{name}: the archive does not have the pinned {rule.pin} any more; it has: {_listed(have)}")
    if rule.series:
        if same := [version for version in have if version.startswith(rule.series)]:
            return found(same[0], f"the newest of {rule.series}", patches=_own_folder(rule, folders))
        steps.append(f"{name}: nor another version {rule.series}*")
    if rule.pin and rule.seen:
        try:
            if rule.pin in snapshot(rule.seen).get(name, []):
                folder = _own_folder(rule, folders)
                return found(rule.pin, f"as pinned, by the snapshot of {rule.seen}", snapshot=rule.seen, patches=folder)
            steps.append(f"{name}: the snapshot of {rule.seen} does not have {rule.pin} either")
        except Unreachable as reason:
            steps.append(f"{name}: the snapshot of {rule.seen} cannot be reached: {reason}")
    if not rule.is_kernel:
        if rule.least and (good := _good(rule, have)):
            return found(good[0], f"the newest, not older than {rule.least}")
        wanted = f", and none that is not older than {rule.least}" if rule.least else ""
        wanted += f" and older than {rule.below}" if rule.below else ""
        raise NoChoice(_nothing(rule, steps, have, wanted, _ADVICE))
    if asked:
        if have and (folder := _own_folder(rule, folders)):
            return found(have[0], "the newest of the series that was asked for", patches=folder)
    else:
        for series in kernels(index):
            if series in folders:
                version = newest_first(index[KERNEL + series])[0]
                return found(version, "the newest series that patches/ knows", package=KERNEL + series, patches=series)
        steps.append(f"{name}: nor a series that patches/ has a folder for ({_listed(folders)})")
        last = max(folders, key=number_of)
        for series in kernels(index)[:1]:
            if number_of(series) > number_of(last):
                version = newest_first(index[KERNEL + series])[0]
                why = f"UNTRIED: the newest series there is, with the patches and options of {last}"
                return found(version, why, package=KERNEL + series, patches=last)
    all_kernels = [f"{KERNEL}{series} {_listed(newest_first(index[KERNEL + series]))}" for series in kernels(index)]
    known = [series for series in kernels(index) if series in folders]
    advice = f"type KVERSION={known[0]} make ..., or {_ADVICE}" if known else _ADVICE
    raise NoChoice(_nothing(rule, steps, all_kernels, f" with a folder in patches/ ({_listed(folders)})", advice))


def _own_folder(rule: Rule, folders: list[str]) -> str:
    """The folder of patches/ for the kernel that the rule names; empty if it is no kernel, or there is none."""
    series = rule.name.removeprefix(KERNEL)
    return series if rule.is_kernel and series in folders else ""


def _nothing(rule: Rule, steps: list[str], have: list[str], wanted: str, advice: str) -> str:
    lines = [*steps, f"no version of {rule.name} can be used{wanted}", f"  there is: {_listed(have)}", f"  {advice}"]
    return "\n".join(lines)
