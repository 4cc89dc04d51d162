#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Tests of tools/iommufd-top on made-up processes. Prints KTAP."""

import importlib.machinery
import importlib.util
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from unittest_ktap import main

TOOL = Path(__file__).resolve().parents[2] / "tools/iommufd-top"
_loader = importlib.machinery.SourceFileLoader("iommufd_top", str(TOOL))
top = importlib.util.module_from_spec(importlib.util.spec_from_loader("iommufd_top", _loader))
_loader.exec_module(top)

# As the module prints it.
TEXT = """pos:	0
flags:	02000002
mnt_id:	15
ino:	90
iommufd-driver:	iommufd_rs
iommufd-context:	3
iommufd-pinned:	393216 KiB
iommufd-accounting:	user
iommufd-account:	user
iommufd-account-uid:	1000
iommufd-account-pid:	42
iommufd-account-charged:	393216 KiB
iommufd-account-limit:	458752 KiB
iommufd-maps:	12
iommufd-unmaps:	3
iommufd-invalidations:	0
iommufd-refused:	2
iommufd-refused-command:	IOMMU_IOAS_MAP
iommufd-refused-errno:	12
iommufd-refused-reason:	map-limit
iommufd-refused-number:	0xc
iommufd-refused-text:	limit of locked memory: 12 pages over
iommufd-objects-ioas:	2
iommufd-objects-hwpt-paging:	1
iommufd-objects-device:	1
iommufd-ioas-1-areas:	4
iommufd-ioas-1-mapped:	402653184
iommufd-device-2-path:	/devices/pci0000:00/0000:00:01.0
iommufd-device-2-pasid-7-hwpt:	3
iommufd-hwpt-paging-3-ioas:	1
iommufd-ioas-4-areas:	1
iommufd-ioas-4-mapped:	4096
iommufd-left-out:	5 objects
"""


class Proc:
    """A folder that looks like /proc."""

    def __init__(self, folder: str) -> None:
        self.path = Path(folder)

    def process(self, pid: int, command: str, files: dict[int, tuple[str, str]]) -> None:
        """A process with descriptors: what each is a link to, and its fdinfo."""
        folder = self.path / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "fdinfo").mkdir()
        (folder / "comm").write_text(command + "\n")
        for number, (target, text) in files.items():
            os.symlink(target, folder / "fd" / str(number))
            (folder / "fdinfo" / str(number)).write_text(text)


class Top(unittest.TestCase):
    """What the tool prints."""

    def setUp(self) -> None:
        self._scratch = tempfile.TemporaryDirectory()
        self.addCleanup(self._scratch.cleanup)
        self.proc = Proc(self._scratch.name)

    def run_tool(self, *arguments: str) -> str:
        """What the tool prints about the made-up processes."""
        command = [str(TOOL), "--proc", str(self.proc.path), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def fails(self, status: int, *arguments: str) -> str:
        """What the tool complains about, in a line that is its own."""
        command = [str(TOOL), "--proc", str(self.proc.path), *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        self.assertIn("iommufd-top: ", done.stderr)
        return done.stderr

    def test_parse(self) -> None:
        """Keys with and without the id of an object."""
        context = top.Context(42, "qemu", TEXT)
        self.assertEqual(context.number("pinned"), 393216 << 10)
        self.assertEqual(context.number("refused-number"), 12)
        self.assertEqual(context.count("hwpt-paging"), 1)
        self.assertEqual(context.objects["hwpt-paging"], {3: {"ioas": "1"}})
        self.assertEqual(context.objects["device"][2]["pasid-7-hwpt"], "3")
        self.assertEqual(context.sum("ioas", "areas"), 5)
        self.assertEqual(context.number("nothing"), 0)

    def test_screen(self) -> None:
        """One screen has a line for the open, and one for each object."""
        self.proc.process(42, "qemu-system-x86", {5: ("/dev/iommu", TEXT), 6: ("/dev/null", TEXT)})
        self.proc.process(43, "other", {1: ("/dev/null", "")})
        lines = self.run_tool("--once", "-d", "0").splitlines()
        self.assertEqual(lines[0], "iommufd-top: 1 open, 384M pinned")
        row = next(line for line in lines if line.startswith("42 "))
        self.assertEqual(row.split(), ["42", "3", "qemu-system-x86", "384M", "384M", "448M", "user", "1000",
                                       "1", "2", "5", "384M", "-", "-", "-", "2"])
        self.assertIn("3    ioas 4         areas 1, mapped 4096", lines)
        self.assertIn("3    ...            5 objects", lines)

    def test_rates(self) -> None:
        """Numbers of two samples become rates."""
        before = top.Context(42, "qemu", TEXT)
        now = top.Context(42, "qemu", TEXT.replace("iommufd-maps:	12", "iommufd-maps:	1012"))
        self.assertEqual(top.rates(now, before, 2.0), ["500", "0", "0"])
        self.assertEqual(top.rates(now, None, 2.0), ["-", "-", "-"])

    def test_shared(self) -> None:
        """An open that two processes have is one line."""
        self.proc.process(42, "qemu", {5: ("/dev/iommu", TEXT), 7: ("/dev/iommu", TEXT)})
        self.proc.process(44, "child", {5: ("/dev/iommu", TEXT)})
        out = self.run_tool("--once", "-d", "0")
        self.assertIn("1 open", out)
        self.assertIn("42+1", out)

    def test_explain(self) -> None:
        """A refusal in words, with what can be done."""
        self.proc.process(42, "qemu", {5: ("/dev/iommu", TEXT)})
        out = self.run_tool("--explain")
        self.assertIn("qemu (42), context 3: IOMMU_IOAS_MAP was refused with ENOMEM, map-limit:", out)
        self.assertIn("limit of locked memory: 12 pages over.", out)
        self.assertIn("Charged now: 393216 KiB, limit: 458752 KiB.", out)
        self.assertIn("LimitMEMLOCK=", out)
        self.assertIn("Each IOMMU_IOAS_MAP charges the memory anew", out)
        self.assertNotIn("No process", out)

    def test_nothing(self) -> None:
        """Nobody has it open; nothing was refused; the C module tells nothing."""
        self.proc.process(1, "init", {})
        self.assertIn("No process", self.run_tool("--explain"))
        quiet = "\n".join(line for line in TEXT.splitlines() if "refused" not in line) + "\niommufd-refused:	0\n"
        self.proc.process(42, "qemu", {5: ("/dev/iommu", quiet)})
        self.assertIn("nothing was refused", self.run_tool("--explain"))
        self.proc.process(43, "qemu", {5: ("/dev/iommu", "pos:	0\n")})
        for arguments in (("--once", "-d", "0"), ("--explain",)):
            self.assertIn("1 descriptors of a module that tells nothing", self.run_tool(*arguments))

    def test_unseen(self) -> None:
        """--explain says what it could not look at, and does not say that there is nothing."""
        self.proc.process(43, "qemu", {5: ("/dev/iommu", "pos:	0\n")})
        self.assertEqual(self.run_tool("--explain"),
                         "1 descriptors of a module that tells nothing (the C iommufd)\n")
        lines = top.explain(top.Sample(0.0, {}, 0, 7))
        self.assertEqual(lines[1:], ["7 processes of other users are not shown"])

    def test_container(self) -> None:
        """/dev/vfio/vfio is shown if it is the module's, and is not counted if it is vfio's."""
        self.proc.process(42, "qemu", {5: ("/dev/vfio/vfio", TEXT)})
        self.proc.process(43, "qemu", {5: ("/dev/vfio/vfio", "pos:	0\n")})
        lines = self.run_tool("--once", "-d", "0").splitlines()
        self.assertEqual(lines[0], "iommufd-top: 1 open, 384M pinned")
        self.assertEqual(lines[1], "")

    def test_names(self) -> None:
        """The name of a process does not reach the terminal as sequences or lines of its own."""
        self.proc.process(42, "\x1b[2J\x9b31m\n\r\u202eq", {5: ("/dev/iommu", TEXT)})
        for arguments in (("--once", "-d", "0"), ("--explain",)):
            out = self.run_tool(*arguments)
            self.assertIn("?[2J?31m???q", out)
            self.assertEqual([c for c in out if not c.isprintable() and c != "\n"], [])
        text = TEXT.replace("/devices/pci0000:00", "/devices/\x1b]0;x\x07")
        self.assertEqual(top.Context(42, "q", text).objects["device"][2]["path"], "/devices/?]0;x?/0000:00:01.0")
        # A locale that lacks the characters of a name.
        self.proc.process(44, "qemü", {5: ("/dev/iommu", TEXT.replace("context:	3", "context:	4"))})
        done = subprocess.run([str(TOOL), "--proc", str(self.proc.path), "--explain"], check=True,
                              capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
        self.assertIn(b"qem? (44), context 4", done.stdout)

    def test_mistakes(self) -> None:
        """What cannot be done is said in a line, and by the exit status."""
        self.proc.process(42, "qemu", {5: ("/dev/iommu", TEXT)})
        for delay in ("nan", "inf", "-1", "1e300", "x"):
            self.assertIn("-d", self.fails(2, "--once", f"-d{delay}"))
        self.assertIn("No such file", self.fails(1, "--once", "-d0", "-p", "43"))
        self.assertIn("/43", self.fails(1, "--explain", "-p", "42", "-p", "43"))
        self.proc.path = self.proc.path / "absent"
        for arguments in (("--once",), ("--explain",), ()):
            self.assertIn("absent: No such file", self.fails(1, *arguments))

    def test_closed_pipe(self) -> None:
        """A reader that has gone is no reason for a traceback."""
        self.proc.process(42, "qemu", {5: ("/dev/iommu", TEXT)})
        for arguments in (["--once", "-d0"], ["--explain"], ["-d0.1"]):
            reader, writer = os.pipe()
            os.close(reader)
            done = subprocess.run([str(TOOL), "--proc", str(self.proc.path), *arguments], check=False,
                                  stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.PIPE, text=True)
            os.close(writer)
            self.assertEqual((done.returncode, done.stderr), (1, ""))

    def test_one_process(self) -> None:
        """-p leaves the others out."""
        self.proc.process(42, "qemu", {5: ("/dev/iommu", TEXT)})
        self.proc.process(43, "other", {})
        self.assertIn("0 open", self.run_tool("--once", "-d", "0", "-p", "43"))

    def test_advice(self) -> None:
        """Each reason that the tool has advice for is there, and the man page has each option."""
        table = (TOOL.parents[1] / "kapi/reason/table.rs").read_text()
        for name in top.ADVICE:
            self.assertIn(f'c"{name}"', table)
        page = (TOOL.parent / "iommufd-top.8").read_text().replace("\\-", "-")
        help_text = subprocess.run([str(TOOL), "--help"], check=True, capture_output=True, text=True).stdout
        for option in ("--once", "--explain", "--delay", "--pid", "--proc"):
            self.assertIn(option, help_text)
            self.assertIn(option, page)


if __name__ == "__main__":
    main()
