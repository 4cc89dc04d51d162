#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Tests of how a toolchain's versions are chosen (scripts/toolchain/choice.py), against made-up indexes,
and of what is done about a mirror that does not answer as it should."""

import contextlib
import http.server
import io
import os
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from dataclasses import replace
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "scripts/toolchain"))

import unittest_ktap
from choice import Choice
from choice import Index
from choice import NoChoice
from choice import Rule
from choice import Unreachable
from choice import choose
from choice import fill_in
from choice import kernels
from choice import newest_first
from choice import read_list
from choice import read_madison
from install import Apt
from install import choose_all
from install import rules_of
from install import short

LISTS = TOP / "scripts/toolchain"
SERVER = 'Dir::State::lists "{0}/lists";\nDir::Etc::sourcelist "{0}/list";\nDir::Etc::sourceparts "-";\n' \
    'Dir::Cache "{0}/cache";\nAPT::Sandbox::User "root";\nAcquire::http::Proxy "DIRECT";\n'

LINUX = Rule("linux-source-7.3", pin="7.3.4-1~bpo13+1", series="7.3.", seen="20260101")
QEMU = Rule("qemu-system-x86", pin="1:11.1.3+ds-1", series="1:11.", seen="20260101", least="1:11.0")
FOLDERS = ["7.3", "7.10"]


def no_snapshot(day: str) -> Index:
    raise Unreachable("no route to host")


def no_call(day: str) -> Index:
    raise AssertionError("the snapshots are asked for what the archive has")


class Choose(unittest.TestCase):
    def take(self, rule: Rule, index: Index, version: str, why: str, snapshot=no_call, **more: str) -> Choice:
        choice = choose(rule, index, snapshot, FOLDERS)
        self.assertEqual(choice.version, version)
        self.assertIn(why, choice.why)
        self.assertEqual(choice.package, more.get("package", rule.name))
        self.assertEqual(choice.patches, more.get("patches", "7.3" if rule.is_kernel else ""))
        return choice

    def refuse(self, rule: Rule, index: Index, snapshot=no_snapshot, asked=False, folders=FOLDERS) -> str:
        with self.assertRaises(NoChoice) as raised:
            choose(rule, index, snapshot, folders, asked)
        return str(raised.exception)

    def test_pin_is_there(self) -> None:
        index = {"qemu-system-x86": ["1:12.0.0+ds-1", "1:11.1.3+ds-1", "1:10.0.2+ds-2"]}
        self.assertEqual(self.take(QEMU, index, "1:11.1.3+ds-1", "as pinned").steps, ())
        self.take(LINUX, {"linux-source-7.3": ["7.3.9-1", "7.3.4-1~bpo13+1"]}, "7.3.4-1~bpo13+1", "as pinned")

    def test_pin_is_gone_series_is_there(self) -> None:
        index = {"qemu-system-x86": ["1:11.1.9+ds-1", "1:11.1.10+ds-1", "1:12.0.0+ds-1"]}
        choice = self.take(QEMU, index, "1:11.1.10+ds-1", "the newest of 1:11.")
        self.assertIn("does not have the pinned 1:11.1.3+ds-1", choice.steps[0])
        self.assertIn("1:12.0.0+ds-1, 1:11.1.10+ds-1, 1:11.1.9+ds-1", choice.steps[0])
        self.take(LINUX, {"linux-source-7.3": ["7.3.6-1~bpo13+1"]}, "7.3.6-1~bpo13+1", "the newest of 7.3.")

    def test_series_is_gone_snapshot_has_the_pin(self) -> None:
        asked = []

        def snapshot(day: str) -> Index:
            asked.append(day)
            return {"linux-source-7.3": ["7.3.4-1~bpo13+1"], "qemu-system-x86": ["1:11.1.3+ds-1"]}

        choice = self.take(QEMU, {"qemu-system-x86": ["1:12.0.0+ds-1"]}, QEMU.pin, "by the snapshot", snapshot)
        self.assertEqual((choice.snapshot, len(choice.steps)), ("20260101", 2))
        choice = self.take(LINUX, {"linux-source-7.10": ["7.10.1-1"]}, LINUX.pin, "by the snapshot", snapshot)
        self.assertEqual((choice.snapshot, asked), ("20260101", ["20260101", "20260101"]))

    def test_snapshot_that_cannot_be_reached_is_a_line(self) -> None:
        choice = self.take(QEMU, {"qemu-system-x86": ["1:12.0.0+ds-1"]}, "1:12.0.0+ds-1", "the newest", no_snapshot)
        self.assertIn("the snapshot of 20260101 cannot be reached: no route to host", choice.steps[-1])

    def test_snapshot_without_the_pin_is_a_line(self) -> None:
        choice = self.take(QEMU, {"qemu-system-x86": ["1:12.0.0+ds-1"]}, "1:12.0.0+ds-1", "the newest", lambda day: {})
        self.assertIn("does not have 1:11.1.3+ds-1 either", choice.steps[-1])

    def test_tool_newer_series_only(self) -> None:
        index = {"qemu-system-x86": ["1:9.2.0+ds-1", "1:12.0.0+ds-1", "1:13.0.0~rc1+ds-1"]}
        self.take(QEMU, index, "1:13.0.0~rc1+ds-1", "not older than 1:11.0", no_snapshot)

    def test_tool_too_old(self) -> None:
        said = self.refuse(QEMU, {"qemu-system-x86": ["1:10.0.13+ds-0", "1:10.0.2+ds-2"]})
        self.assertIn("no version of qemu-system-x86 can be used, and none that is not older than 1:11.0", said)
        self.assertIn("there is: 1:10.0.13+ds-0, 1:10.0.2+ds-2", said)
        self.assertIn("IOMMUFD_RS_MIRROR=", said)

    def test_tool_without_a_pin(self) -> None:
        rule = Rule("rustc", least="1.85.0")
        index = {"rustc": ["1.85.1+dfsg1-1", "1.97.1+dfsg1-1~bpo13+1"]}
        self.assertEqual(self.take(rule, index, "1.97.1+dfsg1-1~bpo13+1", "the newest").steps, ())
        self.assertIn("no version of rustc", self.refuse(rule, {"rustc": ["1.63.0"]}))

    def test_kernel_newest_series_with_a_folder(self) -> None:
        index = {"linux-source-7.9": ["7.9.1-1"], "linux-source-7.10": ["7.10.2-1", "7.10.1-1"],
                 "linux-source-7.11": ["7.11.1-1"]}
        choice = self.take(LINUX, index, "7.10.2-1", "the newest series that patches/ knows", no_snapshot,
                           package="linux-source-7.10", patches="7.10")
        self.assertEqual(len(choice.steps), 3)

    def test_kernel_newest_there_is(self) -> None:
        index = {"linux-source-7.11": ["7.11.1-1"], "linux-source-8.0": ["8.0.1-1"], "linux-source-6.12": ["6.12.1-1"]}
        choice = self.take(LINUX, index, "8.0.1-1", "UNTRIED", no_snapshot, package="linux-source-8.0", patches="7.10")
        self.assertIn("patches and options of 7.10", choice.why)
        self.assertIn("nor a series that patches/ has a folder for", choice.steps[-1])

    def test_kernel_older_than_every_folder(self) -> None:
        said = self.refuse(LINUX, {"linux-source-6.12": ["6.12.1-1"]})
        self.assertIn("there is: linux-source-6.12 6.12.1-1", said)

    def test_kernel_that_was_asked_for(self) -> None:
        index = {"linux-source-7.10": ["7.10.2-1"], "linux-source-7.3": ["7.3.4-1"]}
        choice = choose(Rule("linux-source-7.3"), index, no_call, FOLDERS, asked=True)
        self.assertEqual((choice.version, choice.patches), ("7.3.4-1", "7.3"))
        # Another one will not do then.
        said = self.refuse(Rule("linux-source-7.11"), index, asked=True)
        self.assertIn("type KVERSION=7.10 make", said)

    def test_nothing(self) -> None:
        for rule in (LINUX, QEMU):
            said = self.refuse(rule, {})
            self.assertIn(f"no version of {rule.name} can be used", said)
            self.assertIn("there is: none", said)

    def test_snapshot_is_the_last_to_be_asked(self) -> None:
        """What is removed from the index step by step changes the choice in the order that is promised."""
        index = {"linux-source-7.3": [LINUX.pin, "7.3.5-1"], "linux-source-7.10": ["7.10.1-1"],
                 "linux-source-8.0": ["8.0.1-1"]}
        taken = []
        for gone in ((), ("linux-source-7.3", LINUX.pin), ("linux-source-7.3", "7.3.5-1"),
                     ("linux-source-7.10", "7.10.1-1")):
            if gone:
                index[gone[0]].remove(gone[1])
            taken.append(choose(LINUX, index, no_snapshot, FOLDERS).version)
        self.assertEqual(taken, [LINUX.pin, "7.3.5-1", "7.10.1-1", "8.0.1-1"])


class Numbers(unittest.TestCase):
    RULES = [Rule("rustc"), Rule("clang-%", least="1:17.0.1"), Rule("lld-%", least="1:17.0.1")]

    def test_highest_that_all_have(self) -> None:
        index = {f"{tool}-{number}": [f"1:{number}.1.0-1"] for tool in ("clang", "lld") for number in (9, 19, 21)}
        index["clang-22"] = ["1:22.1.0-1"]
        self.assertEqual([rule.name for rule in fill_in(self.RULES, index)], ["rustc", "clang-21", "lld-21"])

    def test_upper_limit(self) -> None:
        rules = [Rule(f"{tool}-%", least="1:17.0.1", below="1:22~") for tool in ("clang", "lld")]
        index = {f"{tool}-{number}": [f"1:{number}.1.0~rc1-1"] for tool in ("clang", "lld") for number in (21, 22)}
        self.assertEqual([rule.name for rule in fill_in(rules, index)], ["clang-21", "lld-21"])

    def test_names_that_only_begin_alike(self) -> None:
        index = {"clang-19": ["1:19.0-1"], "lld-19": ["1:19.0-1"], "clang-21-doc": ["1:21-1"], "lld-21": ["1:21.0-1"]}
        self.assertEqual(fill_in(self.RULES, index)[1].name, "clang-19")

    def test_none(self) -> None:
        with self.assertRaises(NoChoice) as raised:
            fill_in(self.RULES, {"clang-16": ["1:16.0-1"], "lld-16": ["1:16.0-1"]})
        self.assertIn("clang-16, lld-16", str(raised.exception))


class Texts(unittest.TestCase):
    def test_madison(self) -> None:
        text = (" rustc | 1.97.1-1~bpo13+1 | http://m/debian trixie-backports/main amd64 Packages\n"
                " rustc | 1.85.1-1 | http://m/debian trixie/main amd64 Packages\n"
                " rustc | 1.85.1-1 | http://m/debian trixie/main arm64 Packages\n"
                " rustc | 1.99.0-1 | http://m/debian sid/main Sources\n")
        self.assertEqual(read_madison(text), {"rustc": ["1.97.1-1~bpo13+1", "1.85.1-1"]})
        self.assertEqual(read_madison(""), {})

    def test_order_of_versions(self) -> None:
        versions = ["1:2.0-1", "7.3.10-1", "7.3.9-1", "7.3.10-1~bpo13+1", "7.3.10~rc1-1"]
        self.assertEqual(newest_first(versions),
                         ["1:2.0-1", "7.3.10-1", "7.3.10-1~bpo13+1", "7.3.10~rc1-1", "7.3.9-1"])

    def test_kernels(self) -> None:
        index = {"linux-source-7.9": ["1"], "linux-source-7.10": ["1"], "linux-source-7.11": [], "linux-source": ["1"]}
        self.assertEqual(kernels(index), ["7.10", "7.9"])

    def test_short(self) -> None:
        cases = {"1:19.1.7-3+b1": "19.1.7", "1.85.1+dfsg1-1": "1.85.1", "0.71.1-6": "0.71.1", "7.3.4-1~bpo13+1": "7.3.4"}
        self.assertEqual({version: short(version) for version in cases}, cases)

    def test_every_list_can_be_read(self) -> None:
        names = [file.name for file in LISTS.iterdir() if file.is_file() and "." not in file.name]
        self.assertLessEqual({"common", "debian13", "newest"}, set(names))
        for name in set(names) - {"common"}:
            rules = rules_of([LISTS / "common", LISTS / name], "")
            self.assertEqual(len({rule.name for rule in rules}), len(rules), name)
            for wanted in ("rustc", "bindgen"):
                self.assertIn(wanted, [rule.name for rule in rules], name)
            for rule in rules:
                if rule.pin:
                    self.assertTrue(rule.pin.startswith(rule.series) and rule.seen, rule)
                if rule.is_kernel:
                    self.assertTrue((TOP / "patches" / rule.name.removeprefix("linux-source-")).is_dir(), rule)

    def test_default_compilers_are_not_chosen(self) -> None:
        self.assertFalse([rule for rule in read_list((LISTS / "debian13").read_text()) if rule.chosen])

    def test_list_that_means_nothing(self) -> None:
        for line in ("rustc 1.85.1", "rustc pim=1.85.1", "rustc unpack pin=1"):
            with self.assertRaises(ValueError):
                read_list(line)

    def test_kernel_of_a_person(self) -> None:
        lists = [LISTS / "common", LISTS / "debian13"]
        own = next(rule for rule in rules_of(lists, "") if rule.is_kernel)
        self.assertEqual(rules_of(lists, own.name.removeprefix("linux-source-")), rules_of(lists, ""))
        self.assertIn(Rule("linux-source-9.9"), rules_of(lists, "9.9"))


class NoSnapshots:
    """An apt whose snapshots do not answer."""

    def __init__(self) -> None:
        self.asked = 0

    def index(self, rules: list[Rule]) -> Index:
        return {"qemu-system-x86": ["1:12.0-1"], "qemu-system-arm": ["1:12.0-1"]}

    def snapshot(self, day: str, rules: list[Rule]) -> Index:
        self.asked += 1
        raise Unreachable("not over after 3 minutes")


class Snapshots(unittest.TestCase):
    def test_what_does_not_answer_is_asked_once(self) -> None:
        apt = NoSnapshots()
        rules = [replace(QEMU, name=name) for name in ("qemu-system-x86", "qemu-system-arm")]
        with contextlib.redirect_stdout(io.StringIO()):
            choices = choose_all(apt, rules, FOLDERS, False)
        self.assertEqual([choice.version for choice in choices], ["1:12.0-1", "1:12.0-1"])
        self.assertEqual(apt.asked, 1)


class Mirror(http.server.ThreadingHTTPServer):
    """Answers every request in one way, after having counted it."""

    daemon_threads = True

    def __init__(self, way: str) -> None:
        self.requests = 0
        mirror = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror.requests += 1
                if way == "error":
                    self.send_error(503, "Moved House")
                elif way == "hangs":
                    mirror.over.wait(60)
                else:
                    self.send_response(200)
                    self.send_header("Content-Length", "100000")
                    self.end_headers()
                    while not mirror.over.wait(0.2):
                        try:
                            self.wfile.write(b"x")
                        except OSError:
                            break

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.over = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.over.set()
        self.shutdown()
        self.server_close()


class BadMirror(unittest.TestCase):
    def update(self, way: str, minutes: float, tries: int) -> tuple[str, int, float]:
        """What is said of such a mirror, how often it was asked, and the seconds that took."""
        mirror = Mirror(way)
        self.addCleanup(mirror.close)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            (folder / "lists/partial").mkdir(parents=True)
            (folder / "cache/archives/partial").mkdir(parents=True)
            (folder / "list").write_text(f"deb [trusted=yes] http://127.0.0.1:{mirror.server_port}/ trixie main\n")
            (folder / "config").write_text(SERVER.format(scratch))
            os.environ["APT_CONFIG"] = str(folder / "config")
            began = time.monotonic()
            try:
                with self.assertRaises(Unreachable) as raised:
                    Apt(silence=1, tries=tries).fetch(minutes, "update")
            finally:
                del os.environ["APT_CONFIG"]
        return str(raised.exception), mirror.requests, time.monotonic() - began

    def test_error(self) -> None:
        said, requests, _ = self.update("error", 1, tries=2)
        self.assertIn("503", said)
        self.assertGreaterEqual(requests, 2)

    def test_silence(self) -> None:
        said, requests, seconds = self.update("hangs", 1, tries=1)
        self.assertIn("127.0.0.1", said)
        self.assertGreaterEqual(requests, 1)
        self.assertLess(seconds, 30)

    def test_never_over(self) -> None:
        said, _, seconds = self.update("drips", 0.05, tries=1)
        self.assertIn("not over after", said)
        self.assertLess(seconds, 30)


class Shell(unittest.TestCase):
    """network() of lib.sh."""

    def run_it(self, minutes: str, command: str) -> subprocess.CompletedProcess:
        script = f'. scripts/lib.sh; TRIES=2; sleep() {{ :; }}; network {minutes} bash -c "$1"'
        with tempfile.TemporaryDirectory() as scratch:
            environment = os.environ | {"SCRATCH": scratch}
            return subprocess.run(["bash", "-c", script, "-", command], cwd=TOP, env=environment, text=True,
                                  stderr=subprocess.PIPE, timeout=60)

    def test_second_attempt(self) -> None:
        done = self.run_it("1", 'mkdir "$SCRATCH/once" 2>/dev/null && exit 7; exit 0')
        self.assertEqual(done.returncode, 0)
        self.assertIn("attempt 1 of 2 failed (exit status 7)", done.stderr)

    def test_all_attempts(self) -> None:
        done = self.run_it("1", "exit 7")
        self.assertEqual(done.returncode, 7)
        self.assertIn("attempt 2 of 2 failed", done.stderr)

    def test_hang(self) -> None:
        done = self.run_it("0.01", "exec sleep 50")
        self.assertEqual(done.returncode, 124)
        self.assertIn("not over after 0.01 minutes", done.stderr)


unittest_ktap.main()
