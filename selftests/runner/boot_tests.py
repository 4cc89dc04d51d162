# SPDX-License-Identifier: GPL-2.0-only
"""Tests of what the runner does about a guest that stands still. tests.py runs them."""

import contextlib
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import guest
import guest_suite
from result import Case


class Boot(unittest.TestCase):
    """Guests that are put in the place of QEMU's: what each says, and whether it stands still then."""

    def outcome(self, *boots: tuple[list[tuple[str, str]], bool]) -> tuple[list[Case], list[str]]:
        """Returns the results of a suite, and which logs there are."""
        left = list(boots)

        class Stub:
            status = 0
            limit = guest.BOOT_SECONDS

            def __init__(self, parts: object, initramfs: Path, log: object) -> None:
                self.said, self.timed_out = left.pop(0)

            def lines(self) -> list[tuple[str, str]]:
                return self.said

            def booted(self) -> None:
                self.limit = 1000

        suite = SimpleNamespace(name="s", kind="guest", expect="", trace="")
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            for name, value in (("Guest", Stub), ("LOGS", Path(folder)), ("log_head", lambda: "")):
                stack.enter_context(mock.patch.object(guest_suite, name, value))
            stack.enter_context(mock.patch.object(guest_suite, "packed", lambda *_: contextlib.nullcontext()))
            cases = [case for _, case in guest_suite.run(SimpleNamespace(suite=suite)) if case]
            logs = sorted(file.name for file in Path(folder).iterdir())
        self.assertEqual(left, [])
        return cases, logs

    whole = ([("guest", f"@@ {word}") for word in ("booted", "ok a", "script 0", "tainted 0", "done")], False)

    def test_one_that_ends(self) -> None:
        cases, logs = self.outcome(self.whole)
        self.assertEqual([case.name for case in cases][:2], ["guest: a", "guest: ran to its end"])
        self.assertEqual(logs, ["s.log"])

    def test_one_that_does_not_boot_is_booted_again(self) -> None:
        cases, logs = self.outcome(([("kernel", "Linux")], True), self.whole)
        self.assertEqual({case.outcome for case in cases}, {"passed"})
        self.assertEqual(cases[1].name, "guest: ran to its end, at the second boot: the first one stood still")
        self.assertEqual(logs, ["s.first-boot.log", "s.log"])

    def test_only_once(self) -> None:
        cases, _ = self.outcome(([], True), ([("kernel", "tsc"), ("qemu", "odd")], True))
        ending = next(case for case in cases if case.name == "guest: ran to its end")
        self.assertEqual(ending.outcome, "failed")
        self.assertIn("300 s, it was booting", ending.detail)
        self.assertIn("kernel: tsc\nqemu: odd", ending.detail)

    def test_not_if_the_script_began(self) -> None:
        cases, _ = self.outcome(([("guest", "@@ booted")], True))
        self.assertIn("1000 s, it was setting up", next(case for case in cases if case.outcome == "failed").detail)

    def test_not_if_the_kernel_complained(self) -> None:
        cases, _ = self.outcome(([("kernel", "WARNING: x")], True))
        self.assertEqual({case.outcome for case in cases}, {"failed"})
