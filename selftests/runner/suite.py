# SPDX-License-Identifier: GPL-2.0-only
"""Suites and machines: reads and checks the files under suites/ and arch/."""

import configparser
import shlex
from dataclasses import dataclass
from pathlib import Path

import smmu_trace

SELFTESTS = Path(__file__).resolve().parent.parent
TOP = SELFTESTS.parent

KINDS = ("host", "guest", "demo", "bench")
DEFAULTS = ("yes", "no", "arch", "name")
CLOCKS = ("time", "instructions")


class Mistake(Exception):
    """An error that the user has to correct. The text says what it is."""


@dataclass(frozen=True)
class Check:
    """A command of a host suite."""

    name: str
    command: list[str]
    results: str


@dataclass(frozen=True)
class Machine:
    """A machine of an architecture, with one kind of IOMMU."""

    arch: str
    image: str
    compiler: str
    busybox: Path
    console: str
    results: str
    qemu: list[str]
    cmdline: str
    # The ACPI table that the guest gets changed so that Linux nests, see acpi.py. Empty if it gets its own.
    table: str
    # The beginning of the QEMU command for a guest inside the guest, and parameters of that one's kernel.
    inner: str
    inner_cmdline: str


@dataclass(frozen=True)
class Suite:
    """A suite: a folder of suites/."""

    name: str
    like: str
    description: str
    kind: str
    # Whether it runs if no suite is named: yes, no, or arch if ARCH= names its architecture. With name it does
    # not run with SUITES=rest or all either.
    default: str
    timeout: int
    # Its architectures, of which the first is the default.
    arch: list[str]
    kernel: str
    options: list[str]
    machine: str
    memory: int
    # What the guest's clock counts: time, or the instructions of its one CPU.
    clock: str
    cpus: int
    devices: list[str]
    cmdline: str
    programs: list[str]
    # The kernel of a guest that the guest starts, "" if it starts none, and the MiB of the file that is served to it.
    inner: str
    serve: int
    # The packages of Debian whose programs the guest runs.
    tools: list[str]
    expect: str
    # What is checked in QEMU's trace of an SMMUv3's commands, see smmu_trace.py.
    trace: str
    checks: list[Check]
    # The minutes that it runs at least, or 0 if its work is always the same. TIME= chooses them.
    time: int = 0
    # Whether the guest gets modules with the mistakes of fuzz/mistakes.txt.
    mistakes: bool = False
    # The options of a second module for the guest, if it gets one.
    second: tuple[str, ...] = ()

    @property
    def script(self) -> Path:
        """Returns the suite's guest.sh, or that of the suite that it is like."""
        own = SELFTESTS / "suites" / self.name / "guest.sh"
        return own if own.exists() else self.like_script

    @property
    def like_script(self) -> Path:
        """That of the nearest suite that it is like, which its own may run; its own if it is like none."""
        return SELFTESTS / "suites" / self.like / "guest.sh"


def _read(path: Path) -> configparser.ConfigParser:
    ini = configparser.ConfigParser(interpolation=None)
    try:
        with path.open() as file:
            ini.read_file(file)
    except (OSError, configparser.Error) as error:
        raise Mistake(f"{path}: {error}") from None
    return ini


def _settings(name: str, path: Path) -> tuple[dict[str, str], str]:
    """Returns the settings of a suite, with those of the suite that it is like, which may be like another
    one; and the nearest of these that has a guest.sh, or its own name if it is like none."""
    ini = _read(path)
    if "suite" not in ini:
        raise Mistake(f"{path}: no section [suite]")
    section = dict(ini["suite"])
    like = section.pop("like", name)
    if like == name:
        return section, name
    folder = SELFTESTS / "suites" / like
    inherited, further = _settings(like, folder / "suite.ini")
    return inherited | section, like if (folder / "guest.sh").exists() else further


def load(name: str) -> Suite:
    """Reads the suite of that name."""
    path = SELFTESTS / "suites" / name / "suite.ini"
    if not path.exists():
        raise Mistake(f"there is no suite '{name}'; `make suites` lists those that are")
    section, like = _settings(name, path)
    ini = _read(path)
    suite = Suite(
        name=name,
        like=like,
        description=section.pop("description", ""),
        kind=section.pop("kind", ""),
        default=section.pop("default", "yes"),
        timeout=int(section.pop("timeout", "0")),
        arch=section.pop("arch", "x86_64").split(),
        kernel=section.pop("kernel", "plain"),
        options=section.pop("options", "").split(),
        machine=section.pop("machine", ""),
        memory=int(section.pop("memory", "2048")),
        clock=section.pop("clock", "time"),
        cpus=int(section.pop("cpus", "2")),
        devices=shlex.split(section.pop("devices", "")),
        cmdline=section.pop("cmdline", ""),
        programs=section.pop("programs", "").split(),
        inner=section.pop("inner", ""),
        serve=int(section.pop("serve", "0")),
        tools=section.pop("tools", "").split(),
        expect=section.pop("expect", ""),
        trace=section.pop("trace", ""),
        time=int(section.pop("time", "0")),
        mistakes=section.pop("mistakes", "no") == "yes",
        second=tuple(section.pop("second", "").split()),
        checks=[
            Check(title.split(maxsplit=1)[1], shlex.split(ini[title]["command"]), ini[title].get("results", "status"))
            for title in ini.sections()
            if title.startswith("check ")
        ],
    )
    if section:
        raise Mistake(f"{path}: unknown settings: {', '.join(section)}")
    if wrong := [check.name for check in suite.checks if check.results not in ("status", "ktap", "cargo")]:
        raise Mistake(f"{path}: unknown results in check {wrong[0]}")
    if suite.default not in DEFAULTS:
        raise Mistake(f"{path}: default is one of: {', '.join(DEFAULTS)}")
    if suite.trace not in ("", *smmu_trace.CHECKS):
        raise Mistake(f"{path}: trace is one of: {', '.join(smmu_trace.CHECKS)}")
    if suite.clock not in CLOCKS:
        raise Mistake(f"{path}: clock is one of: {', '.join(CLOCKS)}")
    if suite.clock == "instructions" and suite.cpus != 1:
        raise Mistake(f"{path}: a clock that counts instructions is for one CPU")
    if suite.kind not in KINDS or not suite.timeout or not suite.description:
        raise Mistake(f"{path}: needs a description, a timeout and a kind, one of: {', '.join(KINDS)}")
    return suite


def load_all() -> list[Suite]:
    """Returns all suites, those of the host first since they are the shortest."""
    names = sorted(path.parent.name for path in (SELFTESTS / "suites").glob("*/suite.ini"))
    return sorted((load(name) for name in names), key=lambda suite: KINDS.index(suite.kind))


def machine(arch: str, name: str) -> Machine:
    """Reads the machine of that name on that architecture."""
    path = SELFTESTS / "arch" / f"{arch}.ini"
    ini = _read(path)
    title = f"machine {name}"
    if title not in ini:
        raise Mistake(f"{path}: no section [{title}]")
    base = ini["arch"]
    return Machine(
        arch=arch,
        image=base["image"],
        compiler=base["compiler"],
        busybox=Path(base["busybox"]),
        console=base["console"],
        results=base["results"],
        qemu=[base["qemu"], *shlex.split(base["base"]), *shlex.split(ini[title]["qemu"])],
        cmdline=" ".join([f"console={base['console']}", base.get("cmdline", ""), ini[title].get("cmdline", "")]),
        table=ini[title].get("table", ""),
        inner=base["inner"],
        inner_cmdline=base.get("inner_cmdline", ""),
    )
