# SPDX-License-Identifier: GPL-2.0-only
"""Makes what a guest is put together from: kernel, module under test, test programs."""

import os
import subprocess
from pathlib import Path

from suite import TOP
from suite import Machine
from suite import Mistake
from suite import Suite

BUILD = TOP / "build"
LOGS = BUILD / "logs"

# What MODULE=... stands for.
MODULES = {"rust": "iommufd-rs", "c": "iommufd"}


def kernel(suite: Suite, arch: str) -> Path:
    """The build folder of the suite's kernel."""
    script = [str(TOP / "scripts/kernel.sh"), suite.kernel]
    done = subprocess.run(script, stdout=subprocess.PIPE, text=True, env=_environment(arch))
    if done.returncode:
        raise Mistake(f"no kernel '{suite.kernel}' of {arch} for suite {suite.name}: see above")
    return Path(done.stdout.strip())


def module(suite: Suite, arch: str, options: list[str]) -> Path:
    """Our module, built for the suite's kernel with the suite's options and those given."""
    options = sorted({*suite.options, *options})
    # Each set of options has a folder of its own, so that suites do not rebuild each other's module.
    folder = "module"
    for option in options:
        folder += "+" + option.removeprefix("CONFIG_IOMMUFD_RS_").replace("=y", "").lower()
    out = folder_of(suite, arch) / folder
    log = LOGS / f"{suite.name}-module.log"
    command = ["make", "-C", str(TOP), "modules", f"FLAVOUR={suite.kernel}", f"OUT={out}", *options]
    _logged("the module", log, arch, command)
    built = out / "iommufd-rs.ko"
    if not built.exists():
        raise Mistake(f"the build left no {built}; its log is {log}")
    return built


def programs(suite: Suite, kernel_build: Path, machine: Machine) -> Path:
    """The folder with the suite's test programs."""
    out = folder_of(suite, machine.arch) / "programs"
    goals = sorted({program.split("/")[0] for program in suite.programs})
    if not goals:
        return out
    command = ["make", "-C", str(TOP / "selftests/guest"), f"KERNEL={kernel_build}", f"OUT={out}"]
    log = LOGS / f"{suite.name}-programs.log"
    _logged("the guest programs", log, machine.arch, [*command, f"CC={machine.compiler}", *goals])
    return out


def folder_of(suite: Suite, arch: str) -> Path:
    """Where everything built for that kernel goes."""
    return BUILD / arch / suite.kernel


def _environment(arch: str) -> dict[str, str]:
    """What a build for that architecture runs in."""
    return os.environ | {"ARCH": arch}


def _logged(what: str, log: Path, arch: str, command: list[str]) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        done = subprocess.run(
            command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=_environment(arch)
        )
    status = done.returncode
    if status:
        last = "\n".join(f"    | {line}" for line in log.read_text(errors="replace").splitlines()[-20:])
        raise Mistake(f"{what} did not build (exit status {status}); the end of {log}:\n{last}")
