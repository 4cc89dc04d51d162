# SPDX-License-Identifier: GPL-2.0-only
"""Tests of the runner: it must detect everything that goes wrong in a guest."""

import contextlib
import io
import struct
import tempfile
import threading
import time
import unittest
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import acpi
import bench
import build
import functions
import guest
import page
import report
import result
import side_by_side
import smmu_trace
from boot_tests import Boot  # Its tests run with those of this file.
from guest_suite import Transcript
from host_suite import _cargo
from kernel_log import KernelLog
from ktap import Program
from result import Case
from suite import Check
from suite import Mistake
from suite import load_all


def iort(*nodes: bytes) -> bytes:
    """Returns an ACPI table with these nodes at its end."""
    body = struct.pack("<III", len(nodes), 48, 0) + b"".join(nodes)
    head = b"IORT" + struct.pack("<IBB6s8sI4sI", 36 + len(body), 5, 0, b"BOCHS ", b"BXPC    ", 1, b"BXPC", 1)
    table = bytearray(head + body)
    table[9] = -sum(table) % 256
    return bytes(table)


def ivrs(*blocks: bytes) -> bytes:
    """Returns an ACPI table with these blocks at its end."""
    body = struct.pack("<IQ", 40 << 8, 0) + b"".join(blocks)
    head = b"IVRS" + struct.pack("<IBB6s8sI4sI", 36 + len(body), 1, 0, b"BOCHS ", b"BXPC    ", 1, b"BXPC", 1)
    table = bytearray(head + body)
    table[9] = -sum(table) % 256
    return bytes(table)


def ivhd(kind: int, *features: int) -> bytes:
    """Returns the block of an IOMMU with these Extended Feature registers and one entry for all devices."""
    body = struct.pack("<HHQHHI", 0x10, 0x40, 0xFED80000, 0, 0, 0) + struct.pack(f"<{len(features)}Q", *features)
    return struct.pack("<BBH", kind, 0, 4 + len(body) + 4) + body + b"\x01\0\0\0"


def node(kind: int, content: bytes) -> bytes:
    return struct.pack("<BHBIII", kind, 16 + len(content), 3, 0, 0, 0) + content


def consumed(cons: int, *commands: str) -> list[str]:
    """Returns the trace of commands that an SMMU reads at a place of its queue."""
    lines = []
    end = cons + len(commands)
    for command in commands:
        lines.append(f"smmuv3_cmdq_consume prod={end} cons={cons} prod.wrap=0 cons.wrap=0")
        cons += 1
        opcode, _, rest = command.partition(" ")
        lines.append(f"smmuv3_cmdq_opcode <--- SMMU_CMD_{opcode}")
        if rest:
            lines.append(rest)
    # QEMU says it also when there was nothing to read.
    return [*lines, *2 * [f"smmuv3_cmdq_consume_out prod:{end}, cons:{end}, prod_wrap:0, cons_wrap:0 "]]


def marker(number: int) -> str:
    return f"TLBI_NH_ASID smmuv3_cmdq_tlbi_nh_asid asid={0x4D00 + number}"


def device(opcode: str, sid: int) -> str:
    name = "streamid" if opcode == "CFGI_STE" else "sid"
    return f"{opcode} smmuv3_cmdq_{opcode.lower()} {name}={sid:#x}"


class SmmuTrace(unittest.TestCase):
    PAGE = "TLBI_NH_VA smmuv3_range_inval vmid=1 asid=5 addr=0x30000 tg=1 num_pages=0x1 ttl=3 leaf=0 stage=1"

    def judge(self, kind: str, lines: list[str], said: str = "") -> list[Case]:
        checker = smmu_trace.checker(kind)
        for line in lines:
            checker.qemu(line)
        checker.program(said)
        return checker.cases()

    def test_batches_are_counted(self) -> None:
        begin, end = [consumed(0, marker(0), "SYNC"), consumed(7, marker(1), "SYNC")]
        lines = begin + consumed(2, self.PAGE, self.PAGE) + consumed(4, self.PAGE, self.PAGE, "SYNC") + end
        first, after = 0x4D00, 0x4D01
        for wanted, passes in (
            ("2 4 1", True),
            ("2 4 2", False),
            ("2 4 0", False),
            ("1 4 1", False),
            ("3 4 1", False),
            ("2 5 1", False),
        ):
            cases = self.judge("batches", lines, f"# between {first} and {after}: {wanted}")
            self.assertEqual([case.outcome == result.PASSED for case in cases], [passes], wanted)

    def test_streams_are_counted(self) -> None:
        begin, end = [consumed(0, marker(0), "SYNC"), consumed(5, marker(1), "SYNC")]
        for other, wanted, outcome in (
            (0x108, "1 2 1 2", result.PASSED),
            (0x100, "1 2 1 2", result.FAILED),
            (0x108, "1 2 1", result.PASSED),
            (0x108, "1 2 1 1", result.FAILED),
        ):
            # CMD_CFGI_CD_ALL is traced like CMD_CFGI_CD.
            one, two = device("CFGI_CD", 0x100), device("CFGI_CD", other).replace("CFGI_CD ", "CFGI_CD_ALL ")
            lines = begin + consumed(2, one, two, "SYNC") + end
            cases = self.judge("batches", lines, f"# between 19712 and 19713: {wanted}")
            self.assertEqual(cases[0].outcome, outcome)

    def test_no_batch_is_a_failure(self) -> None:
        self.assertEqual(self.judge("batches", consumed(0, "SYNC"))[0].outcome, result.FAILED)
        said = "# between 19712 and 19713: 1 1 1"
        self.assertEqual(self.judge("batches", consumed(0, marker(0), "SYNC"), said)[0].outcome, result.FAILED)

    def smmus(self, *others: str, sid: int = 0x1020) -> str:
        first = consumed(0, device("CFGI_STE", 0x20), "SYNC") + consumed(2, device("CFGI_CD", 0x20), "SYNC")
        first += consumed(4, marker(0), "SYNC", self.PAGE, "SYNC", marker(1), "SYNC")
        other = consumed(0, device("CFGI_STE", 0x1020), device("CFGI_STE", 0x1020), "SYNC")
        other += consumed(3, device("CFGI_CD", sid), "SYNC")
        other += consumed(5, marker(0), "SYNC", *others, "SYNC", marker(1), "SYNC")
        self.assertEqual(self.judge("smmus", first + other), [])
        return self.judge("smmus", first + other, "# compare both queues")[0].outcome

    def test_two_smmus(self) -> None:
        self.assertEqual(self.smmus(self.PAGE.replace("vmid=1", "vmid=2")), result.PASSED)
        self.assertEqual(self.smmus(), result.FAILED)
        self.assertEqual(self.smmus(self.PAGE, self.PAGE), result.FAILED)
        self.assertEqual(self.smmus(self.PAGE.replace("0x30000", "0x31000")), result.FAILED)
        self.assertEqual(self.smmus(self.PAGE, sid=0x20), result.FAILED)
        self.assertEqual(self.smmus(self.PAGE, sid=0x1021), result.FAILED)


class Acpi(unittest.TestCase):
    ROOT = node(2, bytes(7) + b"\x01" + bytes(12))

    def test_root_is_coherent(self) -> None:
        old = iort(node(0, bytes(8)), self.ROOT, node(4, bytes(52)))
        new = acpi.with_coherent_root(old)
        self.assertEqual(sum(new) % 256, 0)
        place = 48 + 24 + 16 + 7
        self.assertEqual((old[place], new[place]), (1, 5))
        # The kernel uses it only if its revision is newer.
        self.assertEqual(struct.unpack_from("<I", new, 24)[0], struct.unpack_from("<I", old, 24)[0] + 1)
        changed = [at for at, (one, other) in enumerate(zip(old, new)) if one != other]
        self.assertEqual(changed, [9, 24, place])

    def test_what_is_no_iort(self) -> None:
        good = iort(self.ROOT)
        wrong_sum = good[:-1] + bytes([good[-1] ^ 1])
        for table in (b"", good[:-1], b"MCFG" + good[4:], wrong_sum, iort(node(4, bytes(52)))):
            with self.assertRaises(acpi.Unexpected):
                acpi.with_coherent_root(table)

    def test_iommus_nest(self) -> None:
        old = ivrs(ivhd(0x10), ivhd(0x11, 0x29D1 | 2 << 14, 0), ivhd(0x40, 0x8000000000000000, 0xF0))
        new = acpi.with_guest_translation(old)
        self.assertEqual(sum(new) % 256, 0)
        self.assertEqual(new[36] & 1, 1)
        self.assertEqual(struct.unpack_from("<I", new, 24)[0], struct.unpack_from("<I", old, 24)[0] + 1)
        # The first block is 28 bytes long, the second 44.
        wanted = 1 << 1 | 1 << 4 | 1 << 14 | 15 << 32 | 1 << 48 | 1 << 50 | 1 << 52
        self.assertEqual(struct.unpack_from("<QQ", new, 76 + 24), (0x29D1 | wanted, 8))
        self.assertEqual(struct.unpack_from("<QQ", new, 120 + 24), (1 << 63 | wanted, 0xF8))
        registers = range(76 + 24, 76 + 40), range(120 + 24, 120 + 40)
        changed = {at for at, (one, other) in enumerate(zip(old, new)) if one != other}
        self.assertEqual({at for at in changed if not any(at in some for some in registers)}, {9, 24, 36})

    def test_what_is_no_ivrs(self) -> None:
        good = ivrs(ivhd(0x11, 0, 0))
        wrong_sum = good[:-1] + bytes([good[-1] ^ 1])
        without = ivrs(ivhd(0x10))
        for table in (b"", good[:-1], b"IORT" + good[4:], wrong_sum, without, ivrs(ivhd(0x11, 0, 0)[:-4])):
            with self.assertRaises(acpi.Unexpected):
                acpi.with_guest_translation(table)

    def test_kernel_finds_it_first(self) -> None:
        archive = acpi.upgrade("iort", b"table")
        self.assertIn(b"kernel/firmware/acpi/iort.aml\0", archive)
        self.assertEqual(len(archive) % 4, 0)

    def test_only_a_whole_table_is_kept(self) -> None:
        good = ivrs(ivhd(0x11, 0, 0))
        # The guest is killed before it prints the table, and while it does; the last answer is not asked for.
        answers = iter((b"", good[:-1], good, b""))
        machine = SimpleNamespace(qemu=["true"], arch="x86_64")
        parts = SimpleNamespace(machine=machine, suite=SimpleNamespace(name="one", devices=[]))
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(guest, "BUILD", Path(folder)):
            with mock.patch.object(guest, "_read_table", lambda *_: next(answers)):
                for _ in range(2):
                    with self.assertRaises(Mistake):
                        guest._nesting_table("ivrs", parts)
                for _ in range(2):
                    self.assertEqual(guest._nesting_table("ivrs", parts), acpi.with_guest_translation(good))


def outcomes(cases: list[Case]) -> list[tuple[str, str]]:
    return [(case.outcome, case.name) for case in cases]


def program(*lines: str, status: int = 0) -> list[Case]:
    read = Program("p")
    return [case for line in lines for case in read.feed(line)] + read.end(status)


class Ktap(unittest.TestCase):
    def test_passes(self) -> None:
        cases = program("Using x", "TAP version 13", "1..2", "ok 1 a.b", "#  OK  a.c", "ok 2 a.c")
        self.assertEqual(outcomes(cases), [("passed", "p: a.b"), ("passed", "p: a.c")])

    def test_failure_carries_what_was_said(self) -> None:
        cases = program("1..1", "# t.c:7:x:Expected 0 (0) == r (5)", "not ok 1 x", status=1)
        self.assertEqual(outcomes(cases), [("failed", "p: x")])
        self.assertIn("t.c:7", cases[0].detail)

    def test_skip_has_reason(self) -> None:
        cases = program("1..1", "ok 1 x # SKIP no device")
        self.assertEqual(cases, [Case("p: x", "skipped", "no device")])

    def test_skip_before_name(self) -> None:
        cases = program("1..1", "ok 1 # SKIP x: no device")
        self.assertEqual(cases, [Case("p: test 1", "skipped", "x: no device")])

    def test_number_sign_in_name(self) -> None:
        self.assertEqual(outcomes(program("1..1", "ok 1 f: #[repr(C)] # x")), [("passed", "p: f: #[repr(C)] # x")])

    def test_skipped_whole(self) -> None:
        self.assertEqual(outcomes(program("1..0 # SKIP no", status=4)), [("skipped", "p")])

    def test_no_plan(self) -> None:
        self.assertEqual(outcomes(program("ok 1 x"))[-1], ("failed", "p"))
        self.assertEqual(outcomes(program(status=4))[-1], ("failed", "p"))

    def test_empty_plan(self) -> None:
        self.assertEqual(outcomes(program("1..0")), [("failed", "p")])

    def test_results_missing(self) -> None:
        self.assertEqual(outcomes(program("1..3", "ok 1 x"))[-1], ("failed", "p"))

    def test_results_out_of_order(self) -> None:
        self.assertIn(("failed", "p"), outcomes(program("1..2", "ok 1 x", "ok 3 y")))

    def test_status_without_failure(self) -> None:
        self.assertEqual(outcomes(program("1..1", "ok 1 x", status=1))[-1], ("failed", "p"))

    def test_signal(self) -> None:
        self.assertEqual(outcomes(program("1..1", "not ok 1 x", status=139))[-1], ("failed", "p"))

    def test_bail_out(self) -> None:
        self.assertIn(("failed", "p"), outcomes(program("1..1", "Bail out! no /dev", "ok 1 x", status=1)))

    def test_nested(self) -> None:
        inner = ["KTAP version 1", "1..1", "    KTAP version 1", "    1..2", "    ok 1 x", "    not ok 2 y"]
        cases = program(*inner, "not ok 1 outer", status=1)
        self.assertEqual(outcomes(cases), [("passed", "p: x"), ("failed", "p: y")])

    def test_nested_cut_short(self) -> None:
        cases = program("1..1", "    1..2", "    ok 1 x", "ok 1 outer")
        self.assertEqual(outcomes(cases), [("passed", "p: x"), ("failed", "p")])

    def test_outer_failure_without_inner(self) -> None:
        cases = program("1..1", "    1..1", "    ok 1 x", "not ok 1 outer", status=1)
        self.assertEqual(outcomes(cases), [("passed", "p: x"), ("failed", "p: outer")])


class Kernel(unittest.TestCase):
    def test_complaints(self) -> None:
        for line in (
            "WARNING: drivers/iommu/iommufd/main.c:1 at f+0x1/0x2",
            "WARNING: possible circular locking dependency detected",
            "BUG: kernel NULL pointer dereference, address: 0000000000000000",
            "BUG: KASAN: slab-use-after-free in f",
            "Oops: general protection fault, probably for non-canonical address",
            "kernel BUG at mm/slub.c:1!",
            "UBSAN: array-index-out-of-bounds in f.c:1:2",
            "refcount_t: underflow; use-after-free.",
            "INFO: task test:12 blocked for more than 120 seconds.",
            "Kernel panic - not syncing: Attempted to kill init!",
            "watchdog: BUG: soft lockup - CPU#0 stuck for 22s!",
            "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "rust_kernel: panicked at ioas/mod.rs:1:2:",
            "Unable to handle kernel paging request at virtual address 0",
            "list_del corruption. prev->next should be ffff, but was 0",
        ):
            with self.subTest(line):
                self.assertTrue(KernelLog("").feed(f"[    1.000000] {line}"))

    def test_ordinary(self) -> None:
        for line in (
            "DMAR: [DMA Read NO_PASID] Request device [0000:00:01.0] fault addr 0x80000000",
            "iommufd_rs: loading out-of-tree module taints kernel.",
            "sysrq: Show Blocked State",
            "debugfs: mounted",
        ):
            with self.subTest(line):
                self.assertFalse(KernelLog("").feed(f"[    1.000000] {line}"))

    def test_expected(self) -> None:
        log = KernelLog("FAULT_INJECTION")
        self.assertFalse(log.feed("WARNING: FAULT_INJECTION"))
        self.assertTrue(log.feed("WARNING: other"))

    def test_taint_alone(self) -> None:
        log = KernelLog("")
        log.tainted(1 << 12)
        self.assertEqual(log.count, 0)
        log.tainted(1 << 9)
        self.assertEqual(log.count, 1)


class Guest(unittest.TestCase):
    def test_program_that_never_ended(self) -> None:
        transcript = Transcript(raw=False)
        for line in ("@@ program p", "1..2", "ok 1 x"):
            transcript.feed(line)
        self.assertFalse(transcript.ended)
        self.assertEqual(outcomes(transcript.cut_off()), [("failed", "p")])

    def test_checks_and_script(self) -> None:
        transcript = Transcript(raw=False)
        cases = [
            case
            for line in ("@@ ok a", "@@ not ok b: why: not", "sh: nonsense", "@@ script 127", "@@ done")
            for case in transcript.feed(line)
        ]
        self.assertEqual([case.outcome for case in cases], ["passed", "failed", "failed"])
        self.assertEqual(cases[1].detail, "why: not")
        self.assertIn("nonsense", cases[2].detail)
        self.assertTrue(transcript.ended)

    def test_raw_program(self) -> None:
        transcript = Transcript(raw=True)
        self.assertEqual(transcript.feed("@@ program demo"), [])
        self.assertEqual(transcript.feed("not ok 1 is but text"), [])
        self.assertEqual([case.outcome for case in transcript.feed("@@ exit 1")], ["failed"])


class Build(unittest.TestCase):
    def test_once_whether_it_works_or_not(self) -> None:
        tried = []

        @build._once
        def made(name: str) -> build.Path:
            tried.append(name)
            if name == "bad":
                raise Mistake(name)
            return build.Path(name)

        for _ in range(2):
            self.assertEqual(made("good"), build.Path("good"))
            with self.assertRaisesRegex(Mistake, "bad"):
                made("bad")
        self.assertEqual(tried, ["good", "bad"])

    def test_once_by_threads(self) -> None:
        tried = []
        wanted = threading.Barrier(2)

        @build._once
        def made(name: str) -> build.Path:
            tried.append(name)
            time.sleep(0.1)
            return build.Path(name)

        def want() -> build.Path:
            wanted.wait()
            return made("thing")

        with ThreadPoolExecutor(2) as lanes:
            got = [lane.result() for lane in [lanes.submit(want), lanes.submit(want)]]
        self.assertEqual((got, tried), ([build.Path("thing")] * 2, ["thing"]))

    def test_programs_of_another_kernel_go(self) -> None:
        with tempfile.TemporaryDirectory() as top, mock.patch.object(build, "BUILD", build.Path(top)):
            left = []
            for kernel in ("/one", "/one", "/two"):
                folder = build._program_folder.__wrapped__("plain", "x86_64", build.Path(kernel))
                left.append((folder / "pair.o").exists())
                (folder / "pair.o").touch()
        self.assertEqual(left, [False, True, False])


class SideBySide(unittest.TestCase):
    @staticmethod
    def together(*pieces: tuple[str, int], width: int, memory: int) -> list[list[str]]:
        """Returns the names of the pieces that run, each time that one starts. Each ends when no other can start."""
        gates = []

        def work(name: str, needed: int) -> side_by_side.Work:
            gate = threading.Event()
            gates.append(gate)
            return side_by_side.Work(name, needed, lambda tell: gate.wait(10))

        works = [work(*piece) for piece in pieces]
        running: list[str] = []
        seen = []
        events = side_by_side.run(works, width, memory)
        for piece, what in events:
            if what == side_by_side.Begun():
                running.append(piece.name)
                seen.append(list(running))
            else:
                running.remove(piece.name)
            # Waits for the next event: every piece that can start has started before one ends.
            threading.Timer(0.05, gates[works.index(piece)].set).start()
        return seen

    def test_two_at_a_time(self) -> None:
        seen = self.together(("a", 1), ("b", 1), ("c", 1), width=2, memory=9)
        self.assertEqual(seen[:2], [["a"], ["a", "b"]])
        self.assertEqual(len(seen[2]), 2)

    def test_one_at_a_time(self) -> None:
        self.assertEqual(self.together(("a", 1), ("b", 1), width=1, memory=9), [["a"], ["b"]])

    def test_memory_is_kept_to(self) -> None:
        seen = self.together(("a", 5), ("b", 5), ("c", 4), width=3, memory=9)
        self.assertEqual(seen[:2], [["a"], ["a", "c"]])

    def test_one_that_needs_too_much_runs_alone(self) -> None:
        self.assertEqual(self.together(("a", 5), ("b", 50), width=2, memory=9), [["a"], ["b"]])

    def test_never_two_of_one_name(self) -> None:
        self.assertEqual(self.together(("a", 1), ("a", 1), width=2, memory=9), [["a"], ["a"]])

    def test_what_happens_is_told_in_order(self) -> None:
        def work(tell: Callable) -> str:
            tell(1)
            tell(2)
            return "end"

        events = side_by_side.run([side_by_side.Work("a", 1, work)], 2, 9)
        self.assertEqual([what for _, what in events], [side_by_side.Begun(), 1, 2, side_by_side.Ended("end")])

    def test_what_is_raised_is_raised(self) -> None:
        def work(tell: Callable) -> None:
            raise KeyError("a")

        with self.assertRaises(KeyError):
            list(side_by_side.run([side_by_side.Work("a", 1, work)], 2, 9))


class Blocks(unittest.TestCase):
    def test_one_at_a_time(self) -> None:
        output = io.StringIO()
        blocks = report.Blocks()
        with contextlib.redirect_stdout(output):
            blocks.begin("a", "a: first")
            blocks.begin("b", "b: second")
            blocks.case("b", Case("p: x", "passed"))
            blocks.case("b", Case("guest: y", "failed", "why"))
            blocks.end("b")
            blocks.begin("c", "c: third")
            blocks.case("a", Case("q: z", "passed"))
            first = output.getvalue()
            blocks.end("a")
            blocks.case("c", Case("guest: z", "passed"))
            blocks.end("c")
        self.assertEqual(first, "a: first\n")
        shown = ["a: first", "  ok    q: 1 tests", "b: second", "  ok    p: 1 tests"]
        shown += ["  FAIL  guest: y  (why)", "c: third", "  ok    guest: z"]
        self.assertEqual(output.getvalue().splitlines(), shown)


class Cargo(unittest.TestCase):
    CHECK = Check("unit", ["cargo", "test"], "cargo")

    def test_counts(self) -> None:
        output = "test a::b ... ok\ntest c ... ignored, slow\ntest result: ok. 1 passed; 0 failed; 1 ignored; 0 m\n"
        self.assertEqual(outcomes(_cargo(self.CHECK, output, "")), [("passed", "unit: a::b"), ("skipped", "unit: c")])

    def test_does_not_compile(self) -> None:
        self.assertEqual(outcomes(_cargo(self.CHECK, "error[E0433]", "exit status 101")), [("failed", "unit")])

    def test_no_test_at_all(self) -> None:
        output = "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured\n"
        self.assertEqual(outcomes(_cargo(self.CHECK, output, "")), [("failed", "unit")])

    def test_torn_line(self) -> None:
        output = "test a ... some output ok\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 m\n"
        self.assertIn(("failed", "unit"), outcomes(_cargo(self.CHECK, output, "")))


class Numbers(unittest.TestCase):
    """The numbers of `make bench`, and the page that has them."""

    def rows(self, *lines: str) -> list[bench.Row]:
        samples = bench.Samples()
        for line in lines:
            samples.feed(f"sample {line}")
        return samples.rows()

    def filled(self, text: str, *lines: str) -> str:
        """Returns what a page becomes if these lines were a run named b."""
        with tempfile.TemporaryDirectory() as folder:
            about = {"date": "1 May", "commit": "c0ffee", "flavour": "plain", "tools": "rustc 1", "pattern": "a*"}
            bench.save(self.rows(*lines), Path(folder) / "b.json", **about)
            path = Path(folder) / "page.rst"
            path.write_text(text)
            page.fill(path, Path(folder))
            return path.read_text()

    LINES = ("c 20 ns a: map", "rust 5 ns a: map", "c 8 ns b", "rust 4 ns b")

    def test_medians_and_ratios(self) -> None:
        (row,) = self.rows("c 10 ns a: map", "c 30 ns a: map", "c 20 ns a: map", "rust 5 ns a: map")
        self.assertEqual((row.c, row.rust, row.ratio, row.unit), (20, 5, 0.25, "ns"))

    def test_floor(self) -> None:
        """A floor is the sum of its parts, and is there if all of them were measured."""
        lines = ("c 90 ns a: map", "rust 60 ns a: map", "c 9 ns a: pin alone", "rust 10 ns a: pin alone")
        self.assertIsNone(self.rows(*lines)[0].floor)
        row = self.rows(*lines, "c 9 ns a: iommu_map() alone", "rust 20 ns a: iommu_map() alone")[0]
        self.assertEqual((row.floor, row.floor_ratio), (30, 2))

    def test_table(self) -> None:
        rule = "======  =====  ====  ========\n"
        table = f"{rule}row     C      Rust  Rust / C\n{rule}a: map  20 ns  5 ns  0.25\n{rule}"
        head = "Head\n\n.. numbers table b c rust ratio\n   a*\n\n"
        end = ".. numbers end\n\nTail\n"
        filled = self.filled(f"{head}old\n\n{end}", *self.LINES)
        self.assertEqual(filled, f"{head}{table}\n{end}")
        self.assertEqual(self.filled(filled, *self.LINES), filled)

    def test_aims(self) -> None:
        aims = ".. numbers aims\n   x | 0.10 | b: a: map;\n     b / a: map * b@c | (1)\n\n.. numbers end\n"
        self.assertIn("x    0.10  0.25, 6.40 (t) (1)\n", self.filled(aims, *self.LINES))

    def test_two_blocks(self) -> None:
        block = ".. numbers run\n   b\n\n.. numbers end\n\nText\n\n"
        filled = self.filled(block + block, *self.LINES)
        self.assertEqual((filled.count("- ``b``"), filled.count("Text")), (2, 2))

    def test_run(self) -> None:
        run = self.filled(".. numbers run\n   b\n\n.. numbers end\n", *self.LINES)
        self.assertIn("- ``b``: 1 May, commit c0ffee, kernel ``plain``,\n  rows ``a*``,\n  rustc 1.\n", run)

    def test_not_there(self) -> None:
        """A page that names a row that is not there is not filled."""
        for lines in ("table b c\n   none*", "aims\n   x | 1 | b: none", "what\n   b"):
            with self.subTest(lines), self.assertRaises(Mistake):
                self.filled(f".. numbers {lines}\n\n.. numbers end\n", *self.LINES)


    def test_no_run(self) -> None:
        """What has numbers of a run that is not there stays as it is, and the rest is filled."""
        text = ".. numbers table none c\n   *\n\nold\n\n.. numbers end\n"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "page.rst"
            path.write_text(text)
            self.assertEqual(page.fill(path, Path(folder)), (0, {"none"}))
            self.assertEqual(path.read_text(), text)
        self.assertIn("\nold\n", self.filled(text + ".. numbers run\n   b\n\n.. numbers end\n", *self.LINES))


class Functions(unittest.TestCase):
    """What functions execute, by the counts that QEMU's plugin writes."""

    def shown(self, counts: str) -> str:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as output:
            system_map, file = Path(folder) / "System.map", Path(folder) / "counts"
            system_map.write_text("ffffffff81000000 T first\nffffffff81000010 t second\nffffffff81000020 d data\n")
            file.write_text(counts)
            symbols = functions.Symbols(system_map)
            symbols.feed("symbol c ffffffffa0000000 of_c")
            symbols.feed("symbol rust ffffffffa0000000 of_rust")
            with mock.patch.object(functions, "COUNTS", file), mock.patch.object(functions.subprocess, "run") as run:
                run.side_effect = lambda command, input="", **_: SimpleNamespace(stdout=input or "a.c:7")
                self.measured = functions.show(symbols, Path("a"))
            return output.getvalue()

    def test_by_function(self) -> None:
        counts = "calls 0 c 400 2\ncalls 1 r 400 4\n"
        counts += "at 0 ffffffff81000014 20\nat 0 ffffffffa0000004 8\nat 0 ffffffff81000018 20\n"
        counts += "at 1 ffffffffa0000004 4\nat 1 ffffffff81000000 40\n"
        rows = [line.split() for line in self.shown(counts).splitlines()]
        self.assertTrue(self.measured)
        self.assertIn(["20", "0", "second"], rows)
        self.assertIn(["0", "10", "first"], rows)
        self.assertIn(["4", "0", "of_c"], rows)
        self.assertIn(["0", "1", "of_rust"], rows)
        self.assertIn(["24", "11", "all"], rows)

    def test_nothing_measured(self) -> None:
        self.shown("")
        self.assertFalse(self.measured)


class Suites(unittest.TestCase):
    def test_all_can_be_read(self) -> None:
        self.assertTrue(load_all())


unittest.main()
