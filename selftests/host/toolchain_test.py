#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Makes toolchain roots by scripts/toolchain.sh from a small archive made on the spot, whose pinned versions
go one after the other."""

import os
import shutil
import subprocess
import unittest
from pathlib import Path

import unittest_ktap
from archive import ARCH
from archive import Archive
from archive import Package
from archive import Server
from archive import closure

TOP = Path(__file__).resolve().parents[2]
SCRATCH = TOP / "build/toolchain-test"
TREE = SCRATCH / "tree"
CACHE = SCRATCH / "cache"
BASE = SCRATCH / "base"
DAY = "20260101"

COMMON = f"""
linux-source-9.3  pin=9.3.4-1    series=9.3.  seen={DAY}
qemu-system-x86   pin=1:11.1.3-1 series=1:11. seen={DAY} least=1:11.0
made-up-tool
made-up-files:{ARCH} unpack
"""
LIST = """
rustc
bindgen
clang-91
"""
PLAIN: list[Package] = [("made-up-tool", "1"), ("made-up-files", "1"), ("rustc", "1.85.1-1"), ("bindgen", "0.71.1-1"),
                        ("clang-91", "1:91.0.1-1"), ("qemu-system-x86", "1:10.0.2-1")]
PINNED: list[Package] = [("linux-source-9.3", "9.3.4-1"), ("qemu-system-x86", "1:11.1.3-1")]


class Root(unittest.TestCase):
    """Each test has the same base system, and another archive."""

    @classmethod
    def setUpClass(cls) -> None:
        shutil.rmtree(SCRATCH, ignore_errors=True)
        shutil.copytree(TOP / "scripts", TREE / "scripts")
        for folder in ("9.2", "9.3"):
            (TREE / "patches" / folder).mkdir(parents=True)
        for file in (TREE / "scripts/toolchain").iterdir():
            if not file.suffix and file.is_file():
                file.unlink()
        (TREE / "scripts/toolchain/common").write_text(COMMON)
        (TREE / "scripts/toolchain/made-up").write_text(LIST)
        cls.archive = Archive(SCRATCH / "archive")
        cls.archive.pack_again(closure(["apt", "ca-certificates", "python3"]))
        cls.archive.make("trixie", *PLAIN)
        cls.archive.make("trixie-backports", *PINNED)
        cls.server = Server(cls.archive.folder)
        # The first root begins with the base system too. It is kept for the others.
        first = cls.make_root()
        if first.returncode:
            raise RuntimeError(first.stderr)
        cls.first = first.stderr
        (root,) = CACHE.glob("toolchain-made-up-*[0-9a-f]")
        cls.root = root
        cls.first_root = SCRATCH / "first"
        root.rename(cls.first_root)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.server.shutdown()
        shutil.rmtree(SCRATCH, ignore_errors=True)

    @classmethod
    def make_root(cls, **more: str) -> subprocess.CompletedProcess:
        environment = {name: value for name, value in os.environ.items() if name != "IOMMUFD_RS_INSIDE"}
        environment |= {
            "IOMMUFD_RS_CACHE": str(CACHE),
            "IOMMUFD_RS_MIRROR": f"deb [trusted=yes] http://127.0.0.1:{cls.server.server_port}/ trixie main",
            "IOMMUFD_RS_SILENCE": "5",
            "IOMMUFD_RS_TRIES": "2",
            "TOOLCHAIN": "made-up",
        } | more
        return subprocess.run([str(TREE / "scripts/toolchain.sh")], env=environment, text=True, timeout=200,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def setUp(self) -> None:
        self.server.refuse = 0
        shutil.rmtree(CACHE, ignore_errors=True)

    def restore_base(self, name: str) -> Path:
        """Lays down the base system, as links to the first root's files, as if only the packages were still to be installed."""
        part = CACHE / f"{name}.part"
        CACHE.mkdir(exist_ok=True)
        subprocess.run(["cp", "-al", str(self.first_root), str(part)], check=True)
        for file in ("versions", "chosen", "settings", "etc/apt/preferences.d/chosen"):
            (part / file).unlink()
        made_up = [package for package, _ in PLAIN + PINNED if package != "made-up-files"]
        subprocess.run(["dpkg", f"--root={part}", "--force-script-chrootless", "--purge", *made_up], check=True,
                       stdout=subprocess.DEVNULL)
        return part

    def remake(self, *backports: Package, snapshots: bool = False) -> str:
        """A root made while backports have these, and what was chosen for it."""
        self.archive.make("trixie-backports", *backports)
        part = self.restore_base(self.root.name)
        if snapshots:
            address = f"http://127.0.0.1:{self.server.server_port}/snapshot/@SNAPSHOTID@/"
            config = f'Acquire::Snapshots::URI::Host::127.0.0.1 "{address}";\n'
            (part / "etc/apt/apt.conf.d/91snapshots").write_text(config)
        done = self.make_root()
        log = self.log()
        self.assertEqual(done.returncode, 0, done.stderr + log[-3000:])
        self.assertEqual(done.stdout.strip(), str(self.root))
        chosen = (self.root / "chosen").read_text()
        for line in chosen.splitlines():
            self.assertIn(line, done.stderr)
        for line in (self.root / "versions").read_text().splitlines():
            name, version = line.split()
            if name in ("linux-source-9.3", "linux-source-9.2", "linux-source-9.4", "qemu-system-x86"):
                self.assertIn(f"{name} {version}: ", chosen)
                self.assertEqual((self.root / "usr/share" / name / "version").read_text(), version)
        return chosen

    def log(self) -> str:
        return (TREE / "build/logs/toolchain-packages.log").read_text()

    def settings(self) -> dict[str, str]:
        return dict(line.split("=") for line in (self.root / "settings").read_text().splitlines())

    def test_1_pins_are_there(self) -> None:
        for line in ("toolchain made-up: rustc 1.85.1, bindgen 0.71.1, LLVM 91.0.1, Linux 9.3.4, QEMU 11.1.3",
                     "linux-source-9.3 9.3.4-1: as pinned", "qemu-system-x86 1:11.1.3-1: as pinned"):
            self.assertIn(line, self.first)
        self.assertTrue((self.first_root / f"opt/{ARCH}/usr/share/made-up-files/version").exists())
        settings = (self.first_root / "settings").read_text()
        self.assertEqual(settings, "TOOLCHAIN=made-up\nLLVM_MAJOR=91\nKVERSION=9.3\nPATCHES_FOR=9.3\n")

    def test_2_pins_are_gone_series_are_there(self) -> None:
        chosen = self.remake(("linux-source-9.3", "9.3.7-1"), ("qemu-system-x86", "1:11.2.0-1"))
        self.assertIn("linux-source-9.3 9.3.7-1: the newest of 9.3.", chosen)
        self.assertIn("qemu-system-x86 1:11.2.0-1: the newest of 1:11.", chosen)
        self.assertIn("does not have the pinned 9.3.4-1 any more; it has: 9.3.7-1", chosen)

    def test_3_snapshot(self) -> None:
        self.archive.make("trixie-backports", *PINNED)
        self.archive.keep_snapshot(DAY)
        chosen = self.remake(("linux-source-9.2", "9.2.1-1"), ("qemu-system-x86", "1:12.0.0-1"), snapshots=True)
        self.assertIn(f"linux-source-9.3 9.3.4-1: as pinned, by the snapshot of {DAY}", chosen)
        self.assertIn(f"qemu-system-x86 1:11.1.3-1: as pinned, by the snapshot of {DAY}", chosen)

    def test_4_series_are_gone(self) -> None:
        chosen = self.remake(("linux-source-9.2", "9.2.1-1"), ("linux-source-9.4", "9.4.1-1"),
                             ("qemu-system-x86", "1:12.0.0-1"))
        self.assertIn("linux-source-9.2 9.2.1-1: the newest series that patches/ knows", chosen)
        self.assertIn("qemu-system-x86 1:12.0.0-1: the newest, not older than 1:11.0", chosen)
        self.assertIn(f"the snapshot of {DAY} cannot be reached: ", chosen)
        self.assertEqual(self.settings()["KVERSION"], "9.2")
        self.assertEqual(self.settings()["PATCHES_FOR"], "9.2")

    def test_5_newer_series_only(self) -> None:
        chosen = self.remake(("linux-source-9.4", "9.4.1-1"), ("qemu-system-x86", "1:12.0.0-1"))
        self.assertIn("linux-source-9.4 9.4.1-1: UNTRIED", chosen)
        self.assertEqual((self.settings()["KVERSION"], self.settings()["PATCHES_FOR"]), ("9.4", "9.3"))

    def test_6_nothing(self) -> None:
        self.archive.make("trixie-backports", ("linux-source-9.3", "9.3.4-1"))
        self.restore_base(self.root.name)
        done = self.make_root()
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("no version of qemu-system-x86 can be used", done.stderr)
        self.assertIn("there is: 1:10.0.2-1", done.stderr)
        self.assertIn("IOMMUFD_RS_MIRROR=", done.stderr)
        self.assertFalse(self.root.exists())

    def test_7_kernel_that_was_asked_for(self) -> None:
        self.archive.make("trixie-backports", *PINNED, ("linux-source-9.2", "9.2.1-1"))
        done = self.make_root(KVERSION="9.2", IOMMUFD_RS_MIRROR="deb [trusted=yes] http://127.0.0.1:1/ trixie main",
                              IOMMUFD_RS_TRIES="1")
        # Another kernel is another root, whose making begins with a mirror that is not there.
        self.assertNotEqual(done.returncode, 0)
        (part,) = {path.name.removesuffix(".part") for path in CACHE.glob("toolchain-made-up-*.part")} or {""}
        self.assertNotIn(self.root.name, part)
        self.assertIn("base system: FAILED", done.stderr)

    def test_8_mirror_that_answers_late(self) -> None:
        self.archive.make("trixie-backports", *PINNED)
        self.restore_base(self.root.name)
        # apt itself tries each file twice.
        self.server.refuse = 3
        done = self.make_root()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("attempt 1 of 2: Failed to fetch", self.log())

    def test_9_mirror_in_error(self) -> None:
        self.archive.make("trixie-backports", *PINNED)
        self.restore_base(self.root.name)
        self.server.refuse = 1000
        done = self.make_root()
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("the mirror does not give what is wanted: ", done.stderr)
        self.assertIn("IOMMUFD_RS_MIRROR=http://", done.stderr)

    def test_no_such_toolchain(self) -> None:
        done = self.make_root(TOOLCHAIN="old")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("type TOOLCHAIN= and one of: made-up", done.stderr)


if __name__ == "__main__":
    unittest_ktap.main()
