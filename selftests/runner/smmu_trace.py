# SPDX-License-Identifier: GPL-2.0-only
"""What QEMU's trace says about the commands of its SMMUv3s. Programs divide the trace by markers: commands
whose ASID is a number of their own."""

import re
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

from result import Case
from result import failed
from result import passed

_EVENTS = ("smmuv3_cmdq_*", "smmuv3_range_inval")

# What a suite may ask for.
CHECKS = ("batches", "smmus")

_MARKER = 0x4D00
_EVENT = re.compile(r"\bsmmuv3_(cmdq_\w+|range_inval)\b ?(.*)$")
_NUMBER = re.compile(r"([\w.]+) ?[=:] ?(0x[0-9a-f]+|\d+)")
_BETWEEN = re.compile(r"^# between (\d+) and (\d+): (\d+) (\d+) (\d+)(?: (\d+))?$")


def arguments(file: Path) -> list[str]:
    """Returns QEMU's arguments for a trace in a file. Through a pipe it would hold up the guest."""
    return ["-D", str(file), *(word for event in _EVENTS for word in ("-trace", event))]


@dataclass
class Command:
    """A command that an SMMU has read from its queue."""

    opcode: str
    # Of the events that follow the one that names the opcode.
    numbers: dict[str, int] = field(default_factory=dict)

    @property
    def marker(self) -> int | None:
        asid = self.numbers.get("asid", 0)
        return asid if self.opcode == "TLBI_NH_ASID" and asid >= _MARKER else None


@dataclass(eq=False)
class Queue:
    """The command queue of an SMMU. A submission is what the SMMU reads after a write to its register."""

    # Where it will be read next.
    place: tuple[int, int]
    submissions: list[list[Command]] = field(default_factory=list)

    def commands(self) -> list[Command]:
        return [command for submission in self.submissions for command in submission]


class Trace:
    """The queues of all SMMUs. The trace does not name the SMMU, so a queue is known by its place. If two have
    the same one, what is known of both is forgotten, since afterwards it cannot be told which is which."""

    def __init__(self) -> None:
        self.queues: list[Queue] = []
        self._current: Queue | None = None

    def feed(self, line: str) -> None:
        match = _EVENT.search(line)
        if not match:
            return
        event, rest = match.groups()
        numbers = {name: int(value, 0) for name, value in _NUMBER.findall(rest)}
        if event == "cmdq_consume":
            # There is one before each command, and a cmdq_consume_out behind the last.
            if not self._current:
                self._current = self._at((numbers["cons"], numbers["cons.wrap"]))
                self._current.submissions.append([])
        elif not self._current:
            return
        elif event == "cmdq_consume_out":
            self._current.place = (numbers["cons"], numbers["cons_wrap"])
            self._current = None
        elif event == "cmdq_opcode":
            opcode = rest.rpartition(" ")[2].removeprefix("SMMU_CMD_")
            self._current.submissions[-1].append(Command(opcode))
        elif self._current.submissions[-1]:
            self._current.submissions[-1][-1].numbers |= numbers

    def _at(self, place: tuple[int, int]) -> Queue:
        found = [queue for queue in self.queues if queue.place == place]
        if len(found) == 1:
            return found[0]
        for queue in found:
            queue.submissions = []
        if not found:
            self.queues.append(Queue(place))
            return self.queues[-1]
        return found[0]


def _between(queue: Queue, first: int, after: int) -> list[list[Command]] | None:
    """Returns the submissions between two markers, or None if one is missing or not alone."""
    places = {}
    for place, submission in enumerate(queue.submissions):
        for command in submission:
            if command.marker in (first, after):
                if command.marker in places or [c for c in submission if c.opcode != "SYNC"] != [command]:
                    return None
                places[command.marker] = place
    if len(places) != 2:
        return None
    return queue.submissions[places[first] + 1 : places[after]]


class Batches:
    """Counts submissions, commands and CMD_SYNCs, and compares them with what a program says."""

    def __init__(self) -> None:
        self._trace = Trace()
        self._wanted: list[re.Match[str]] = []

    def qemu(self, line: str) -> None:
        self._trace.feed(line)

    def program(self, line: str) -> None:
        if match := _BETWEEN.match(line):
            self._wanted.append(match)

    def cases(self) -> list[Case]:
        wrong = [reason for match in self._wanted if (reason := self._judge(match))]
        name = f"trace: {len(self._wanted)} batches"
        if not self._wanted or wrong:
            return [failed(name, "\n".join(wrong) or "no program said what it expects")]
        return [passed(name)]

    def _judge(self, match: re.Match[str]) -> str | None:
        first, after = int(match[1]), int(match[2])
        found = [_between(queue, first, after) for queue in self._trace.queues]
        submissions = next((submissions for submissions in found if submissions is not None), None)
        if submissions is None:
            return f"{match[0]}: the trace has no such markers"
        commands = [command for submission in submissions for command in submission]
        syncs = sum(command.opcode == "SYNC" for command in commands)
        got = (len(submissions), len(commands) - syncs, syncs)
        if got != tuple(map(int, match.groups()[2:5])):
            return f"{match[0]}: got {' '.join(map(str, got))}"
        streams = {command.numbers["sid"] for command in commands if "sid" in command.numbers}
        if match[6] and len(streams) != int(match[6]):
            return f"{match[0]}: got the streams {streams}"
        return None


class Smmus:
    """Two SMMUs: commands about a device are in the queue in which the driver has its entries, and between
    two markers both queues have the same commands about address spaces. By the C module, which has no vIOMMU
    over two SMMUs, there are no markers, and the program does not ask for it."""

    def __init__(self) -> None:
        self._trace = Trace()
        self._asked = False

    def qemu(self, line: str) -> None:
        self._trace.feed(line)

    def program(self, line: str) -> None:
        self._asked |= line == "# compare both queues"

    def cases(self) -> list[Case]:
        if not self._asked:
            return []
        name = "trace: each command reached the right SMMU"
        reason = self._reason()
        return [failed(name, reason) if reason else passed(name)]

    def _reason(self) -> str | None:
        queues = [queue for queue in self._trace.queues if queue.submissions]
        if len(queues) != 2:
            return f"{len(queues)} command queues instead of two"
        entries, devices, marked = zip(*map(_facts, queues))
        if entries[0] & entries[1] or devices[0] & devices[1]:
            return f"streams in both queues: {(entries[0] & entries[1]) | (devices[0] & devices[1])}"
        for queue in (0, 1):
            if not devices[queue] or not devices[queue] <= entries[queue]:
                return f"commands about {devices[queue]} in a queue with the entries of {entries[queue]}"
        if not marked[0] or marked[0] != marked[1]:
            return f"the queues have other markers or translations: {_difference(*marked)}"
        return None


def _facts(queue: Queue) -> tuple[set[int], set[int], list[str]]:
    """Returns the streams whose entries and whose context descriptors were invalidated, and the commands
    about address spaces from the first marker to the last."""
    entries, devices, marked = set(), set(), []
    inside = False
    for command in queue.commands():
        if command.opcode == "CFGI_STE":
            entries.add(command.numbers["streamid"])
        if command.opcode in ("CFGI_CD", "CFGI_CD_ALL"):
            devices.add(command.numbers["sid"])
        if command.marker is not None:
            # Markers with even numbers begin what is compared.
            inside = command.marker % 2 == 0
            marked.append(f"marker {command.marker}")
        elif inside and command.opcode.startswith("TLBI_NH"):
            numbers = {name: value for name, value in command.numbers.items() if name != "vmid"}
            marked.append(f"{command.opcode} {numbers}")
    return entries, devices, marked


def _difference(one: list[str], other: list[str]) -> str:
    pairs = [(a, b) for a, b in zip(one, other) if a != b]
    return f"{len(one)} and {len(other)}" + (f", first {pairs[0]}" if pairs else "")


def checker(name: str) -> Batches | Smmus:
    return Batches() if name == "batches" else Smmus()
