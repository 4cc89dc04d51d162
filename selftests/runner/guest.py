# SPDX-License-Identifier: GPL-2.0-only
"""Boots a guest and reads its output line by line. The kernel's console and the results have a serial
port each, so that neither cuts the other's lines."""

import base64
import hashlib
import os
import selectors
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TextIO

import acpi
import smmu_trace
from build import BUILD
from initramfs import Initramfs
from server import FileServer
from suite import SELFTESTS
from suite import Machine
from suite import Mistake
from suite import Suite

KERNEL, RESULTS, QEMU = "kernel", "guest", "qemu"

# The guest's watchdog uses sysrq. An oops ends the guest. The kernel's 21 seconds, after which it says that a CPU
# stalls RCU, are little for a CPU that is emulated by a thread of a busy machine.
_CMDLINE = "sysrq_always_enabled panic=-1 oops=panic rcupdate.rcu_cpu_stall_timeout=100 rdinit=/init"

# The emulation of a guest's CPUs, by what its clock counts. If it counts instructions, each takes a
# nanosecond, and the clock advances to the next timer while the CPU sleeps.
_CPUS = {
    "time": ["-accel", "tcg,thread=multi"],
    "instructions": ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off,align=off"],
}

# QEMU is killed when its parent dies, for whatever reason.
_LEASH = ["setpriv", "--pdeathsig", "KILL"]


# Seconds until the suite's script begins. It takes 2 to 30, with everything that may run beside the guest.
BOOT_SECONDS = 300

# The MiB that QEMU needs beside the guest's memory, most of it for translated code, and the MiB that a
# suite without a guest may need.
_QEMU_MEMORY = 768
_HOST_MEMORY = 1024


def memory_needed(suite: Suite) -> int:
    """Returns the MiB that a run of the suite may take."""
    return suite.memory + _QEMU_MEMORY if suite.kind != "host" else _HOST_MEMORY


def memory_available() -> int:
    """Returns the MiB that are available on the machine."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, amount = line.partition(":")
        if name == "MemAvailable":
            return int(amount.split()[0]) >> 10
    return 0


@dataclass(frozen=True)
class Parts:
    """The parts of a guest."""

    suite: Suite
    machine: Machine
    kernel: Path
    programs: Path
    # The file of the module under test. Its name without ".ko" is the name of the module.
    module: Path
    module_name: str
    # The tree of programs with the QEMU for a guest inside the guest.
    userland: Path | None = None
    # The folder of modules with mistakes.
    mistakes: Path | None = None
    # A pattern of the rows to measure or the mistakes to find, or "" for all of them.
    rows: str = ""
    # The file of a second module, which the guest has as iommufd-rs-second.ko.
    second: Path | None = None
    # The kernel of the guest inside the guest.
    inner: Path | None = None
    # A plugin of QEMU that counts instructions by function, and its argument.
    plugin: str = ""


def _pack_inner(parts: Parts) -> bytes:
    """Returns the initramfs of the guest inside the guest."""
    archive = Initramfs()
    archive.device("dev/console", 5, 1)
    archive.file("bin/busybox", parts.machine.busybox.read_bytes())
    archive.file("init", (SELFTESTS / "guest/l2-init").read_bytes())
    return archive.content()


@contextmanager
def packed(parts: Parts, mode: str, path: Path) -> Iterator[None]:
    """Writes the initramfs, and runs the suite's server meanwhile. `mode` is test or shell."""
    if not parts.suite.serve:
        _pack(parts, mode, path, {})
        yield
        return
    with FileServer(parts.suite.serve) as server:
        _pack(parts, mode, path, server.settings)
        yield


def _pack(parts: Parts, mode: str, path: Path, served: dict[str, str]) -> None:
    archive = Initramfs()
    guest = SELFTESTS / "guest"
    archive.device("dev/console", 5, 1)
    archive.file("bin/busybox", parts.machine.busybox.read_bytes())
    archive.file("init", (guest / "init").read_bytes())
    for library in sorted(guest.glob("*.sh")):
        archive.file(f"lib/{library.name}", library.read_bytes())
    archive.file("suite/guest.sh", parts.suite.script.read_bytes())
    if parts.suite.like_script != parts.suite.script:
        archive.file("suite/like.sh", parts.suite.like_script.read_bytes())
    settings = {
        "MODE": mode,
        "MODULE": parts.module_name,
        "CLOCK": parts.suite.clock,
        "ROWS": parts.rows,
        "FUNCTIONS": parts.plugin,
        "CONSOLE": parts.machine.console,
        "RESULTS": parts.machine.results,
        # If a program hangs there must be time left to report it.
        "LIMIT": str(parts.suite.timeout // 2),
        "RUN_SECONDS": str(parts.suite.time * 60),
        "INNER_QEMU": parts.machine.inner,
        "INNER_CMDLINE": parts.machine.inner_cmdline,
        **served,
    }
    archive.file("etc/suite", "".join(f"{key}={quote(value)}\n" for key, value in settings.items()).encode())
    # The kernel's build lists modules as .o; the files are .ko.
    for listed in (parts.kernel / "modules.order").read_text().split():
        module = parts.kernel / Path(listed).with_suffix(".ko")
        archive.file(f"modules/{module.name}", module.read_bytes())
    archive.file(f"modules/{parts.module_name}.ko", parts.module.read_bytes())
    if parts.second:
        archive.file("modules/iommufd-rs-second.ko", parts.second.read_bytes())
    for mistake in sorted(parts.mistakes.glob(f"{parts.rows or '*'}.ko")) if parts.mistakes else []:
        archive.file(f"mistakes/{mistake.name}", mistake.read_bytes())
    for program in parts.suite.programs:
        archive.file(f"programs/{program}", (parts.programs / program).read_bytes())
    if parts.inner:
        archive.file("inner/kernel", (parts.inner / parts.machine.image).read_bytes())
        archive.file("inner/initramfs", _pack_inner(parts))
    path.parent.mkdir(parents=True, exist_ok=True)
    table = parts.machine.table
    early = acpi.upgrade(table, _nesting_table(table, parts)) if table else b""
    path.write_bytes(early + archive.content())


def _nesting_table(table: str, parts: Parts) -> bytes:
    """Returns an ACPI table by which Linux nests, made from the guest's own."""
    version = subprocess.run([parts.machine.qemu[0], "--version"], stdout=subprocess.PIPE).stdout
    words = [version.decode(), *parts.machine.qemu, *parts.suite.devices]
    key = hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]
    path = BUILD / parts.machine.arch / f"{table}-{key}"
    # Of a suite each, since two may run at once.
    log = path.with_name(f"{path.name}-{parts.suite.name}.log")
    try:
        if path.exists():
            return acpi.NESTING[table](path.read_bytes())
        path.parent.mkdir(parents=True, exist_ok=True)
        read = _read_table(table, parts, log.with_suffix(".initramfs"), log)
        changed = acpi.NESTING[table](read)
    except acpi.Unexpected as error:
        raise Mistake(f"{log}: {error}") from None
    # Only a whole table is kept: a guest that was killed has printed a part of one, or nothing.
    part = log.with_suffix(".part")
    part.write_bytes(read)
    part.rename(path)
    return changed


def _read_table(table: str, parts: Parts, initramfs: Path, log: Path) -> bytes:
    """Boots the guest to read an ACPI table. It is always the same, so it is read once."""
    archive = Initramfs()
    archive.device("dev/console", 5, 1)
    archive.file("bin/busybox", parts.machine.busybox.read_bytes())
    archive.file("init", (SELFTESTS / "guest/read-table").read_bytes())
    settings = f"RESULTS={quote(parts.machine.results)}\nTABLE={table.upper()}\n"
    archive.file("etc/suite", settings.encode())
    initramfs.write_bytes(archive.content())
    with log.open("w") as file:
        guest = Guest(parts, initramfs, file)
        said = [line for channel, line in guest.lines() if channel == RESULTS]
    try:
        return base64.b64decode("".join(said), validate=True)
    except ValueError:
        raise Mistake(f"the guest did not print its {table.upper()}: see {log}") from None


def _shared(tree: Path) -> list[str]:
    """Returns QEMU's arguments for a tree that the guest can read."""
    return ["-virtfs", f"local,path={tree},mount_tag=userland,security_model=none,readonly=on,multidevs=remap"]


def trace_file(suite: Suite) -> Path:
    """Returns the file that QEMU's trace of the suite's guest is in."""
    return BUILD / "logs" / f"{suite.name}.trace"


def command(parts: Parts, initramfs: Path, loglevel: str) -> list[str]:
    """Returns QEMU's command, without the serial ports. `loglevel` is a parameter of the kernel."""
    suite = parts.suite
    cmdline = f"{parts.machine.cmdline} {_CMDLINE} {loglevel} {suite.cmdline}"
    return [
        *parts.machine.qemu,
        *_CPUS[suite.clock],
        *["-smp", str(suite.cpus)],
        *("-m", str(suite.memory)),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *suite.devices,
        *(["-plugin", parts.plugin] if parts.plugin else []),
        *(smmu_trace.arguments(trace_file(suite)) if suite.trace else []),
        *(_shared(parts.userland) if parts.userland else []),
        *("-kernel", str(parts.kernel / parts.machine.image), "-initrd", str(initramfs)),
        *("-append", cmdline.strip()),
    ]


def shell(parts: Parts, initramfs: Path) -> int:
    """Runs a guest whose console is the terminal."""
    return subprocess.run([*command(parts, initramfs, "quiet"), "-serial", "mon:stdio", "-serial", "none"]).returncode


class Guest:
    """A running guest. `limit` is how many seconds it has, since its start. `timed_out` and `status` are valid after
    an iteration over `lines`."""

    def __init__(self, parts: Parts, initramfs: Path, log: TextIO) -> None:
        self._log = log
        self._start = time.monotonic()
        self._timeout = parts.suite.timeout
        self.limit = min(BOOT_SECONDS, self._timeout)
        self.timed_out = False
        self.status = 0
        pipes = {channel: os.pipe() for channel in (KERNEL, RESULTS, QEMU)}
        arguments = command(parts, initramfs, "ignore_loglevel")
        for channel in (KERNEL, RESULTS):
            port = f"file,id={channel},path=/dev/fd/{pipes[channel][1]}"
            arguments += ["-chardev", port, "-serial", f"chardev:{channel}"]
        self._write("$ " + " ".join(arguments), QEMU)
        try:
            self._process = subprocess.Popen(
                [*_LEASH, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=pipes[QEMU][1],
                stderr=subprocess.STDOUT,
                pass_fds=[pipes[KERNEL][1], pipes[RESULTS][1]],
            )
        except OSError as error:
            raise Mistake(f"cannot start {arguments[0]}: {error}") from None
        finally:
            for _, writer in pipes.values():
                os.close(writer)
        self._readers = {channel: reader for channel, (reader, _) in pipes.items()}

    def booted(self) -> None:
        """Gives the guest the time that its suite has."""
        self.limit = self._timeout

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yields each line with its channel, until the guest has exited or its time is over."""
        pending = {channel: b"" for channel in self._readers}
        with selectors.DefaultSelector() as selector:
            for channel, reader in self._readers.items():
                selector.register(reader, selectors.EVENT_READ, channel)
            while selector.get_map():
                left = self._start + self.limit - time.monotonic()
                if left <= 0:
                    self.timed_out = True
                    break
                for key, _ in selector.select(left):
                    data = os.read(key.fd, 65536)
                    if not data:
                        selector.unregister(key.fd)
                    *whole, pending[key.data] = (pending[key.data] + data).split(b"\n")
                    for line in whole:
                        yield key.data, self._write(line.decode(errors="replace").strip("\r"), key.data)
        for channel, rest in pending.items():
            if rest:
                yield channel, self._write(rest.decode(errors="replace").strip("\r"), channel)
        self.stop()

    def stop(self) -> None:
        """Kills the guest if it still runs."""
        if self._process.poll() is None and self.timed_out:
            self._process.kill()
        self.status = self._process.wait()
        for reader in self._readers.values():
            os.close(reader)
        self._readers = {}

    def kill(self) -> None:
        self._process.kill()

    def _write(self, line: str, channel: str) -> str:
        self._log.write(f"{time.monotonic() - self._start:8.2f} {channel:6} {line}\n")
        self._log.flush()
        return line
