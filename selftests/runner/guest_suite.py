# SPDX-License-Identifier: GPL-2.0-only
"""Runs a suite in a guest and judges it by the results of its tests, by the kernel's log, and by whether
the guest ran to its end."""

from collections.abc import Iterator
from pathlib import Path

import smmu_trace
from build import LOGS
from build import log_head
from guest import KERNEL
from guest import QEMU
from guest import Guest
from guest import Parts
from guest import packed
from guest import trace_file
from kernel_log import KernelLog
from ktap import Program
from result import Case
from result import failed
from result import passed

_MARK = "@@ "
_CONTEXT = 5


class Transcript:
    """Reads the results port. selftests/guest/guest.sh describes the lines."""

    def __init__(self, raw: bool) -> None:
        # The output of a raw program is not KTAP: its exit status is its result.
        self._raw = raw
        self._program: Program | None = None
        self._name = ""
        self.booted = False
        self.ended = False
        self.taints = 0
        # What runs, for the report on a guest that stopped early.
        self.doing = "booting"
        # The last line of the script itself.
        self._said: list[str] = []

    def feed(self, line: str) -> list[Case]:
        if not line.startswith(_MARK):
            if self._program:
                return self._program.feed(line)
            if line:
                self._said = [*self._said[-_CONTEXT:], line]
            return []
        word, _, rest = line.removeprefix(_MARK).partition(" ")
        match word:
            case "booted":
                self.booted = True
                self.doing = "setting up"
            case "program":
                self._name = rest.rpartition("/")[2]
                self._program = None if self._raw else Program(self._name)
                self.doing = f"running {self._name}"
            case "exit":
                return self._exit(int(rest))
            case "ok":
                return [passed(f"guest: {rest}")]
            case "not":
                name, _, reason = rest.removeprefix("ok ").partition(": ")
                return [failed(f"guest: {name}", reason)]
            case "script":
                self.doing = "looking for memory that leaked, and unloading the modules"
                if rest != "0":
                    reason = [f"the suite's guest.sh ended with status {rest}", *self._said]
                    return [failed("guest: script", "\n".join(reason))]
            case "tainted":
                self.taints = int(rest)
            case "done":
                self.ended = True
        return []

    def _exit(self, status: int) -> list[Case]:
        self.doing = f"after {self._name}"
        if self._raw:
            name = f"{self._name}: exit status 0"
            return [failed(name, f"exit status {status}") if status else passed(name)]
        if not self._program:
            return []
        program, self._program = self._program, None
        return program.end(status)

    def cut_off(self) -> list[Case]:
        """Returns the results of a program that did not exit."""
        return self._program.end(0) if self._program else []


class _Boot:
    """A boot of the guest, and what it said."""

    def __init__(self, parts: Parts, log: Path, again: bool) -> None:
        self._parts = parts
        self._log = log
        self._again = again
        self._transcript = Transcript(raw=parts.suite.kind != "guest")
        self._kernel = KernelLog(parts.suite.expect)
        # The last lines of the kernel, and of QEMU.
        self._said: dict[str, list[str]] = {KERNEL: [], QEMU: []}
        self._trace = smmu_trace.checker(parts.suite.trace) if parts.suite.trace else None
        self._guest: Guest | None = None

    def run(self, initramfs: Path) -> Iterator[tuple[str, Case | None]]:
        """Yields each line of the results port, with the test that it completes, if any."""
        with self._log.open("w") as log:
            log.write(log_head())
            self._guest = guest = Guest(self._parts, initramfs, log)
            try:
                for channel, line in guest.lines():
                    if channel in self._said:
                        self._said[channel] = [*self._said[channel][1 - _CONTEXT :], line]
                        if channel == KERNEL:
                            self._kernel.feed(line)
                        continue
                    if self._trace:
                        self._trace.program(line)
                    cases = self._transcript.feed(line)
                    if self._transcript.booted:
                        guest.booted()
                    yield line, None
                    yield from (("", case) for case in cases)
            except BaseException:
                guest.kill()
                raise

    def stood_still(self) -> bool:
        """Returns whether the suite's script did not even begin, although the guest had all the time for it, and the
        kernel did not complain."""
        return bool(self._guest and self._guest.timed_out) and not self._transcript.booted and not self._kernel.count

    def judge(self) -> Iterator[Case]:
        """Yields the checks that are made after the guest has ended."""
        self._kernel.tainted(self._transcript.taints)
        if self._trace:
            with trace_file(self._parts.suite).open() as lines:
                for line in lines:
                    self._trace.qemu(line)
            yield from self._trace.cases()
        yield from self._ending()
        yield _verdict(self._kernel)

    def _ending(self) -> list[Case]:
        name = "guest: ran to its end"
        if not self._guest:
            return []
        if self._guest.timed_out:
            reason = f"hung: not over after {self._guest.limit} s, it was {self._transcript.doing}"
        elif not self._transcript.ended:
            reason = f"the guest stopped short, it was {self._transcript.doing}"
        elif self._guest.status:
            reason = f"QEMU ended with status {self._guest.status}"
        else:
            return [passed(f"{name}, at the second boot: the first one stood still" if self._again else name)]
        last = [f"{channel}: {line}" for channel, lines in self._said.items() for line in lines]
        whole = "\n".join([reason, "what was said last:", *last])
        return [*self._transcript.cut_off(), failed(name, whole)]


def run(parts: Parts) -> Iterator[tuple[str, Case | None]]:
    """Boots the guest. Yields each line of the results port, with the test that it completes, if any.

    A guest whose kernel has no complaint, and which still does not say that the suite's script begins, is booted a
    second time. Either its timer stands still, before the module is loaded, or its results cannot be read."""
    suite = parts.suite
    LOGS.mkdir(parents=True, exist_ok=True)
    initramfs = LOGS.parent / "initramfs" / f"{suite.name}.cpio"
    log = LOGS / f"{suite.name}.log"
    with packed(parts, "test", initramfs):
        boot = _Boot(parts, log, again=False)
        yield from boot.run(initramfs)
        if boot.stood_still():
            log.rename(log.with_suffix(".first-boot.log"))
            boot = _Boot(parts, log, again=True)
            yield from boot.run(initramfs)
    for case in boot.judge():
        yield "", case


def _verdict(kernel: KernelLog) -> Case:
    name = "guest: no warning or oops in the kernel log"
    if kernel.count:
        return failed(name, f"{kernel.count} in all; they begin:\n{kernel.quote()}")
    return passed(name)
