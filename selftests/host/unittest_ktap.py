# SPDX-License-Identifier: GPL-2.0-only
"""Runs Python's unit tests and reports them in KTAP, so that the runner counts each of them."""

import sys
import traceback
import unittest


class _Reporter(unittest.TestResult):
    def _say(self, test: unittest.TestCase, word: str, detail: str = "") -> None:
        for line in detail.splitlines():
            print(f"# {line}")
        name = test.id().removeprefix("__main__.")
        print(f"{word} {self.testsRun} {name}", flush=True)

    def addSuccess(self, test: unittest.TestCase) -> None:
        self._say(test, "ok")

    def addFailure(self, test: unittest.TestCase, err: tuple) -> None:
        super().addFailure(test, err)
        self._say(test, "not ok", "".join(traceback.format_exception(*err)))

    def addError(self, test: unittest.TestCase, err: tuple) -> None:
        super().addError(test, err)
        if isinstance(test, unittest.TestCase):
            self._say(test, "not ok", "".join(traceback.format_exception(*err)))
        else:
            # setUpClass() failed: the plan is not met.
            print("".join(traceback.format_exception(*err)))


def main() -> None:
    """Runs the tests of the file that is the program."""
    tests = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    print("KTAP version 1")
    print(f"1..{tests.countTestCases()}", flush=True)
    result = _Reporter()
    tests.run(result)
    sys.exit(not result.wasSuccessful())
