# SPDX-License-Identifier: GPL-2.0-only
"""Runs a suite in a guest and judges it by the results of its tests, by the kernel's log, and by whether
the guest ran to its end."""

from collections.abc import Iterator

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
        self.ended = False
        self.taints = 0
        # What runs, for the report on a guest that stopped early.
        self.doing = "booting or setting up"
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


def run(parts: Parts) -> Iterator[tuple[str, Case | None]]:
    """Boots the guest. Yields each line of the results port, with the test that it completes, if any."""
    suite = parts.suite
    LOGS.mkdir(parents=True, exist_ok=True)
    initramfs = LOGS.parent / "initramfs" / f"{suite.name}.cpio"
    transcript = Transcript(raw=suite.kind != "guest")
    kernel = KernelLog(suite.expect)
    qemu_said: list[str] = []
    trace = smmu_trace.checker(suite.trace) if suite.trace else None
    with packed(parts, "test", initramfs), (LOGS / f"{suite.name}.log").open("w") as log:
        log.write(log_head())
        guest = Guest(parts, initramfs, log)
        try:
            for channel, line in guest.lines():
                if channel == KERNEL:
                    kernel.feed(line)
                elif channel == QEMU:
                    qemu_said = [*qemu_said[-_CONTEXT:], line]
                else:
                    if trace:
                        trace.program(line)
                    cases = transcript.feed(line)
                    yield line, None
                    yield from (("", case) for case in cases)
        except BaseException:
            guest.kill()
            raise
    kernel.tainted(transcript.taints)
    if trace:
        with trace_file(suite).open() as lines:
            for line in lines:
                trace.qemu(line)
        for case in trace.cases():
            yield "", case
    for case in [*_ending(guest, transcript, qemu_said, suite.timeout), _verdict(kernel)]:
        yield "", case


def _verdict(kernel: KernelLog) -> Case:
    name = "guest: no warning or oops in the kernel log"
    if kernel.count:
        return failed(name, f"{kernel.count} in all; they begin:\n{kernel.quote()}")
    return passed(name)


def _ending(guest: Guest, transcript: Transcript, qemu_said: list[str], timeout: int) -> list[Case]:
    name = "guest: ran to its end"
    if guest.timed_out:
        reason = f"hung: not over after {timeout} s, it was {transcript.doing}"
    elif not transcript.ended:
        reason = "\n".join([f"the guest stopped short, it was {transcript.doing}", *qemu_said[-5:]])
    elif guest.status:
        reason = "\n".join([f"QEMU ended with status {guest.status}", *qemu_said[-5:]])
    else:
        return [passed(name)]
    return [*transcript.cut_off(), failed(name, reason)]
