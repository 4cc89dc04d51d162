# SPDX-License-Identifier: GPL-2.0-only
"""Puts a toolchain's packages into the root that this runs in, whose apt has Debian 13 and its backports.
toolchain.sh calls it. It leaves three files at the root's top:

  settings   for the shell: TOOLCHAIN, LLVM_MAJOR, KVERSION, PATCHES_FOR
  versions   every package with its version
  chosen     for people: a line that sums up, then for each choice what was looked for in vain, and what was taken
"""

import argparse
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from choice import KERNEL
from choice import Choice
from choice import Index
from choice import NoChoice
from choice import Rule
from choice import Unreachable
from choice import choose
from choice import fill_in
from choice import read_list
from choice import read_madison

_SOURCES = Path("/etc/apt/sources.list.d")
_PREFERENCES = Path("/etc/apt/preferences.d/chosen")


class Apt:
    """apt in this root. Whatever asks a mirror ends in a limited time, and is tried again."""

    def __init__(self, silence: int, tries: int) -> None:
        # The seconds without a byte after which a connection is given up, and how often a step is tried.
        self._silence = silence
        self._tries = tries

    def fetch(self, minutes: int, *arguments: str, tries: int = 0, folder: Path | None = None) -> None:
        """apt-get with a mirror. Raises `Unreachable`."""
        options = [f"Acquire::{scheme}::Timeout={self._silence}" for scheme in ("http", "https")]
        options += ["Acquire::Retries=1", "APT::Update::Error-Mode=any", "Dpkg::Use-Pty=0"]
        command = ["apt-get", "-q", "-y", *(word for option in options for word in ("-o", option)), *arguments]
        last = tries or self._tries
        for attempt in range(1, last + 1):
            try:
                done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=minutes * 60, cwd=folder)
            except subprocess.TimeoutExpired:
                reason = f"not over after {minutes} minutes"
            else:
                print(done.stderr, end="", flush=True)
                if not done.returncode:
                    return
                reason = _reason(done.stderr)
            print(f"attempt {attempt} of {last}: {reason}", flush=True)
            if attempt < last:
                time.sleep(2 * attempt)
        raise Unreachable(reason)

    def local(self, *arguments: str) -> None:
        """apt-get with what was fetched before."""
        subprocess.run(["apt-get", "-q", "-y", *arguments], check=True)

    def install(self, *arguments: str) -> None:
        """Fetches and installs packages."""
        wanted = ["install", "--no-install-recommends", *arguments]
        self.fetch(30, *wanted, "--download-only")
        self.local("-o", "Dpkg::Use-Pty=0", *wanted, "--no-download")

    def index(self, rules: list[Rule]) -> Index:
        """The versions of all packages that a rule may mean, and of every kernel's source."""
        known = _output("apt-cache", "pkgnames").split()
        forms = [re.compile(re.escape(rule.name).replace("%", r"\d+")) for rule in rules if rule.chosen]
        forms.append(re.compile(re.escape(KERNEL) + r"[\d.]+"))
        names = [name for name in known if any(form.fullmatch(name) for form in forms)]
        return read_madison(_output("apt-cache", "madison", *names)) if names else {}

    def snapshot(self, day: str, rules: list[Rule]) -> Index:
        """What backports had on that day. apt knows itself where the snapshots of a mirror are."""
        source = _SOURCES / f"snapshot-{day}.list"
        mark = f"{day}T000000Z"
        text = (_SOURCES / "backports.list").read_text()
        source.write_text(re.sub(r"^deb (?:\[([^]]*)\] )?", lambda old: f"deb [{old[1] or ''} snapshot={mark}] ", text))
        alone = [f"Dir::Etc::sourcelist={source}", "Dir::Etc::sourceparts=-", "APT::Get::List-Cleanup=false"]
        # What was valid on that day is not any more.
        alone.append("Acquire::Check-Valid-Until=false")
        try:
            self.fetch(3, *(word for option in alone for word in ("-o", option)), "update", tries=1)
        except Unreachable:
            source.unlink()
            raise
        index: Index = {}
        for line in _output("apt-cache", "madison", *(rule.name for rule in rules if rule.chosen)).splitlines():
            if mark in line:
                for name, versions in read_madison(line).items():
                    index.setdefault(name, []).extend(versions)
        return index


def _reason(said: str) -> str:
    """The line of apt's that says what went wrong."""
    lines = [line for line in said.splitlines() if line.startswith(("E: ", "W: Failed"))]
    return lines[0][3:] if lines else "apt-get says nothing of it"


def _output(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def add_architectures(rules: list[Rule]) -> None:
    here = _output("dpkg", "--print-architecture").strip()
    for arch in sorted({rule.name.partition(":")[2] for rule in rules} - {"", here}):
        subprocess.run(["dpkg", "--add-architecture", arch], check=True)


def hold_together(choices: list[Choice]) -> None:
    """Has apt take what was built of the same source in the same version."""
    blocks = []
    for choice in choices:
        shown = _output("apt-cache", "show", f"{choice.package}={choice.version}")
        match = re.search(r"^Source: (\S+)(?: \((\S+)\))?", shown, re.M)
        source, version = (match[1], match[2] or choice.version) if match else (choice.package, choice.version)
        blocks.append(f"Package: src:{source}\nPin: version {version}\nPin-Priority: 995\n")
    _PREFERENCES.write_text("\n".join(dict.fromkeys(blocks)))


def unpack(apt: Apt, rule: Rule) -> None:
    """Lays down the files of a package without installing it."""
    folder = Path("/var/cache/apt/unpack")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    apt.fetch(10, "-o", "APT::Sandbox::User=root", "download", rule.name, folder=folder)
    (package,) = folder.glob("*.deb")
    target = Path("/opt") / rule.name.partition(":")[2]
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["dpkg-deb", "-x", str(package), str(target)], check=True)
    shutil.rmtree(folder)


def short(version: str) -> str:
    """What its makers call a version, without what Debian adds."""
    match = re.match(r"(?:\d+:)?([\d.]+)", version)
    return match[1].rstrip(".") if match else version


def summary(toolchain: str, versions: dict[str, str], kernel: Choice, llvm: str) -> str:
    parts = [
        f"rustc {short(versions['rustc'])}",
        f"bindgen {short(versions['bindgen'])}",
        f"LLVM {short(versions[f'clang-{llvm}'])}",
        f"Linux {short(kernel.version)}",
        f"QEMU {short(versions['qemu-system-x86'])}",
    ]
    return f"toolchain {toolchain}: {', '.join(parts)}"


def rules_of(lists: list[Path], kernel: str) -> list[Rule]:
    """What the lists say, with the kernel that a person asked for, if so, in place of theirs."""
    rules = [rule for file in lists for rule in read_list(file.read_text())]
    own = [rule for rule in rules if rule.is_kernel]
    if len(own) != 1:
        raise ValueError(f"the lists have {len(own)} lines for a kernel's source; it has to be one")
    if kernel and own[0].name != KERNEL + kernel:
        rules[rules.index(own[0])] = Rule(KERNEL + kernel)
    return rules


def choose_all(apt: Apt, rules: list[Rule], folders: list[str], kernel_asked: bool) -> list[Choice]:
    index = apt.index(rules)
    rules[:] = fill_in(rules, index)
    asked: dict[str, Index | Unreachable] = {}

    def snapshot(day: str) -> Index:
        """Asks once for each day, whatever comes of it."""
        if day not in asked:
            try:
                asked[day] = apt.snapshot(day, rules)
            except Unreachable as reason:
                asked[day] = reason
        answer = asked[day]
        if isinstance(answer, Unreachable):
            raise answer
        return answer

    choices = []
    for rule in rules:
        if rule.chosen:
            choice = choose(rule, index, snapshot, folders, kernel_asked and rule.is_kernel)
            for step in choice.steps:
                print(step)
            print(f"{choice.package}: takes {choice.version}, {choice.why}", flush=True)
            choices.append(choice)
    return choices


def install(choice: argparse.Namespace) -> None:
    apt = Apt(choice.silence, choice.tries)
    rules = rules_of(choice.lists, choice.kernel)
    subprocess.run(["dpkg", "--configure", "-a"], check=True)
    add_architectures(rules)
    apt.fetch(10, "update")
    choices = choose_all(apt, rules, choice.folders.split(), bool(choice.kernel))
    hold_together(choices)
    # What Debian 13 has itself comes first, lest backports' newer ones of it be preferred.
    apt.install(*(rule.name for rule in rules if not rule.chosen and not rule.unpack))
    apt.install("-t", f"{choice.suite}-backports", *(f"{one.package}={one.version}" for one in choices))
    for rule in rules:
        if rule.unpack:
            unpack(apt, rule)
    apt.local("clean")
    (kernel,) = (one for one in choices if one.package.startswith(KERNEL))
    (llvm,) = {match[1] for rule in rules if (match := re.fullmatch(r"clang-(\d+)", rule.name))}
    series = kernel.package.removeprefix(KERNEL)
    settings = {
        "TOOLCHAIN": choice.toolchain,
        "LLVM_MAJOR": llvm,
        "KVERSION": series,
        "PATCHES_FOR": kernel.patches,
    }
    Path("/settings").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    listed = _output("dpkg-query", "-W", "-f", "${Package} ${Version}\n")
    versions = dict(line.split() for line in listed.splitlines())
    lines = [summary(choice.toolchain, versions, kernel, llvm)]
    for one in choices:
        lines += [*one.steps, f"{one.package} {one.version}: {one.why}"]
    Path("/chosen").write_text("\n".join(lines) + "\n")
    # Its presence says that all is done.
    Path("/versions").write_text(listed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--toolchain", required=True, help="its name")
    parser.add_argument("--suite", required=True, help="Debian's name for the release")
    parser.add_argument("--kernel", default="", help="the series that a person asked for")
    parser.add_argument("--folders", required=True, help="the series that patches/ has a folder for")
    parser.add_argument("--silence", type=int, required=True, help="seconds")
    parser.add_argument("--tries", type=int, required=True)
    parser.add_argument("lists", type=Path, nargs="+")
    choice = parser.parse_args()
    try:
        install(choice)
    except NoChoice as reason:
        print(f"error: {reason}")
    except Unreachable as reason:
        print(f"error: the mirror does not give what is wanted: {reason}")
        print("  try again later, or another mirror: IOMMUFD_RS_MIRROR=http://... make ...")
    except (subprocess.CalledProcessError, ValueError) as error:
        print(f"error: {error}")
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
