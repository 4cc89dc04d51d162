# SPDX-License-Identifier: GPL-2.0-only
"""Builds the parts of a guest: kernel, module under test, test programs."""

import os
import platform
import shutil
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import wraps
from pathlib import Path

from suite import TOP
from suite import Machine
from suite import Mistake
from suite import Suite

BUILD = TOP / "build"
LOGS = BUILD / "logs"

# The values of MODULE=... and the names of the modules.
# The architecture of the toolchain root, by the kernel's name.
_HERE = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())

MODULES = {"rust": "iommufd-rs", "c": "iommufd"}


def _once(build: Callable[..., Path]) -> Callable[..., Path]:
    """Builds each thing once in a run of the runner. A build that failed is not tried again. Other threads that want
    the thing meanwhile wait for it."""
    outcomes: dict[tuple[object, ...], Future[Path]] = {}
    lock = threading.Lock()

    @wraps(build)
    def built(*arguments: object) -> Path:
        with lock:
            is_first = arguments not in outcomes
            outcome = outcomes.setdefault(arguments, Future())
        if is_first:
            try:
                outcome.set_result(build(*arguments))
            except BaseException as reason:
                outcome.set_exception(reason)
        return outcome.result()

    return built


# Kernels take all processors and print how far they are, and programs of a folder have parts in common: one at a time.
_ONE_KERNEL = threading.Lock()
_ONE_PROGRAM = threading.Lock()


def log_head() -> str:
    """Returns the first lines of each log: the toolchain and its versions."""
    return "".join(f"# {line}\n" for line in Path("/chosen").read_text().splitlines())


def tools() -> str:
    """Returns the versions of the compilers, of Linux and of QEMU."""
    return Path("/chosen").read_text().splitlines()[0].partition(": ")[2]


@_once
def kernel(flavour: str, arch: str) -> Path:
    """Returns the build folder of a kernel."""
    script = [str(TOP / "scripts/kernel.sh"), flavour]
    with _ONE_KERNEL:
        done = subprocess.run(script, stdout=subprocess.PIPE, text=True, env=_environment(arch))
    if done.returncode:
        raise Mistake(f"no kernel '{flavour}' of {arch}: see above")
    return Path(done.stdout.strip())


def module(suite: Suite, arch: str, options: list[str]) -> Path:
    """Builds our module for the suite's kernel, with the suite's options and those given. Returns the file."""
    return _module(suite.kernel, arch, *sorted({*suite.options, *options}))


@_once
def _module(flavour: str, arch: str, *options: str) -> Path:
    # One folder for each set of options, so that suites do not rebuild the module of others.
    folder = "module"
    for option in options:
        folder += "+" + option.removeprefix("CONFIG_IOMMUFD_RS_").replace("=y", "").replace("=", "-").lower()
    out = BUILD / arch / flavour / folder
    log = LOGS / f"{arch}-{flavour}-{folder}.log"
    command = ["make", "-C", str(TOP), "modules", f"FLAVOUR={flavour}", f"OUT={out}", *options]
    _logged("the module", log, arch, command)
    built = out / "iommufd-rs.ko"
    if not built.exists():
        raise Mistake(f"the build left no {built}; its log is {log}")
    return built


def mistakes(suite: Suite, arch: str, rows: str) -> Path:
    """Builds modules with mistakes, those that match `rows`. Returns their folder."""
    out = BUILD / arch / suite.kernel / "mistakes"
    script = TOP / "selftests/fuzz/mistakes.py"
    command = ["python3", "-B", str(script), str(out), suite.kernel, rows or "*", *suite.options]
    _logged("a module with a mistake", LOGS / f"{arch}-{suite.kernel}-mistakes.log", arch, command)
    return out


def programs(suite: Suite, kernel_build: Path, machine: Machine) -> Path:
    """Builds the suite's test programs. Returns their folder."""
    out = _program_folder(suite.kernel, machine.arch, kernel_build)
    for goal in sorted({program.split("/")[0] for program in suite.programs}):
        _program(goal, out, kernel_build, machine.arch, machine.compiler)
    return out


@_once
def _program_folder(flavour: str, arch: str, kernel_build: Path) -> Path:
    """Returns the folder of a kernel's test programs. It is emptied if another build of the kernel was used before: make
    would want the headers of that one, which may be gone."""
    out = BUILD / arch / flavour / "programs"
    made_for = out / "made-for"
    if not made_for.exists() or made_for.read_text() != str(kernel_build):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        made_for.write_text(str(kernel_build))
    return out


@_once
def _program(goal: str, out: Path, kernel_build: Path, arch: str, compiler: str) -> Path:
    """Builds a program of ours, or a folder of the kernel's. Returns the folder."""
    command = ["make", "-C", str(TOP / "selftests/guest"), f"KERNEL={kernel_build}", f"OUT={out}"]
    log = LOGS / f"{arch}-{out.parent.name}-{goal}.log"
    with _ONE_PROGRAM:
        _logged(f"the guest program {goal}", log, arch, [*command, f"CC={compiler}", goal])
    return out


def userland(arch: str, tools: list[str]) -> Path:
    """Returns the tree with the programs of these packages. If there is none, then the tree with the QEMU for a guest
    inside the guest: the runner's own if the architecture is."""
    return Path("/") if arch == _HERE and not tools else _userland(arch, *tools)


@_once
def _userland(arch: str, *tools: str) -> Path:
    with _ONE_KERNEL:
        done = subprocess.run([str(TOP / "scripts/userland.sh"), arch, *tools], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise Mistake(f"no {' '.join(tools) or 'QEMU'} that runs on {arch}: see above")
    return Path(done.stdout.strip())


def _environment(arch: str) -> dict[str, str]:
    """Returns the environment of a build for that architecture."""
    return os.environ | {"ARCH": arch}


def logged(what: str, log: Path, command: list[str]) -> None:
    """Runs a command for this machine that builds something."""
    _logged(what, log, _HERE, command)


def _logged(what: str, log: Path, arch: str, command: list[str]) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        file.write(log_head())
        file.flush()
        done = subprocess.run(
            command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=_environment(arch)
        )
    status = done.returncode
    if status:
        last = "\n".join(f"    | {line}" for line in log.read_text(errors="replace").splitlines()[-20:])
        raise Mistake(f"{what} did not build (exit status {status}); the end of {log}:\n{last}")
