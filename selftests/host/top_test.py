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

    def test_nothing(self) -> None:
        """Nobody has it open; nothing was refused; the C module tells nothing."""
        self.proc.process(1, "init", {})
        self.assertIn("No process", self.run_tool("--explain"))
        quiet = "\n".join(line for line in TEXT.splitlines() if "refused" not in line) + "\niommufd-refused:	0\n"
        self.proc.process(42, "qemu", {5: ("/dev/iommu", quiet)})
        self.assertIn("nothing was refused", self.run_tool("--explain"))
        self.proc.process(43, "qemu", {5: ("/dev/iommu", "pos:	0\n")})
        self.assertIn("1 descriptors of a module that tells nothing", self.run_tool("--once", "-d", "0"))

    def test_one_process(self) -> None:
        """-p leaves the others out."""
        self.proc.process(42, "qemu", {5: ("/dev/iommu", TEXT)})
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
