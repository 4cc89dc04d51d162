# SPDX-License-Identifier: GPL-2.0-only
"""Runs the suites, for the goals test, run, shell and bench of the Makefile."""

import argparse
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import bench
import build
import functions
import guest
import guest_suite
import host_suite
import page
import plot
import report
import side_by_side
from result import FAILED
from result import Case
from result import SuiteResult
from result import failed
from suite import CLOCKS
from suite import TOP
from suite import Mistake
from suite import Suite
from suite import load
from suite import load_all
from suite import machine

INTERRUPTED = 130

# The notes of `make suites` on suites that do not run by default.
_ONLY = {
    "yes": "",
    "no": " (by name, SUITES=rest or all)",
    "arch": " (by name, ARCH={}, SUITES=rest or all)",
    "name": " (by name)",
}


def assemble(suite: Suite, choice: argparse.Namespace) -> guest.Parts:
    """Builds the parts of the suite's guest."""
    arch = choice.arch or suite.arch[0]
    if arch not in suite.arch:
        raise Mistake(f"suite {suite.name} runs on {' '.join(suite.arch)}, not on {arch}")
    described = machine(arch, suite.machine)
    kernel = build.kernel(suite.kernel, arch)
    inner = build.kernel(suite.inner, arch) if suite.inner else None
    name = build.MODULES[choice.module]
    rows = getattr(choice, "rows", "")
    if choice.module == "rust":
        module = build.module(suite, arch, choice.option)
    else:
        module = kernel / "drivers/iommu/iommufd/iommufd.ko"
    userland = build.userland(arch, suite.tools) if suite.inner or suite.tools else None
    mistakes = build.mistakes(suite, arch, rows) if suite.mistakes else None
    second = build.module(suite, arch, [*choice.option, *suite.second]) if suite.second else None
    programs = build.programs(suite, kernel, described)
    return guest.Parts(suite, described, kernel, programs, module, name, userland, mistakes, rows, second, inner)


def prepare(suite: Suite, choice: argparse.Namespace) -> guest.Parts | Mistake | None:
    """Returns the parts of the suite's guest, or why they cannot be built. A host suite has none."""
    if suite.kind == "host":
        return None
    try:
        return assemble(suite, choice)
    except Mistake as mistake:
        return mistake


def prepare_all(suites: list[Suite], choice: argparse.Namespace) -> list[guest.Parts | Mistake | None]:
    """Returns what `prepare` returns for each. Builds for as many suites at a time as run at a time: a compiler
    of Rust keeps one processor busy."""
    with ThreadPoolExecutor(choice.jobs) as lanes:
        # What is built one after the other for one suite begins first.
        order = sorted(suites, key=lambda suite: not suite.mistakes)
        prepared = {suite.name: lanes.submit(prepare, suite, choice) for suite in order}
        try:
            for suite in suites:
                report.building(suite.name)
                prepared[suite.name].exception()
        except BaseException:
            lanes.shutdown(wait=False, cancel_futures=True)
            raise
    report.building("")
    return [prepared[suite.name].result() for suite in suites]


def run_suite(
    suite: Suite, parts: guest.Parts | Mistake | None, show: Callable[[str, Case | None], None]
) -> SuiteResult:
    """Runs one suite and prints its results as they come."""
    result = SuiteResult(suite.name, build.LOGS / f"{suite.name}.log")
    result.log.unlink(missing_ok=True)
    began = time.monotonic()
    try:
        if isinstance(parts, Mistake):
            raise parts
        for line, case in guest_suite.run(parts) if parts else host_suite.run(suite):
            if case:
                result.cases.append(case)
            show(line, case)
    except Mistake as mistake:
        result.cases.append(failed("set-up", str(mistake)))
        show("", result.cases[-1])
    if not result.cases:
        result.cases.append(failed("results", "the suite reported nothing"))
    result.seconds = time.monotonic() - began
    return result


def is_meant(suite: Suite, which: str, arch: str) -> bool:
    """Returns whether a suite is one of those that run by themselves (""), of the others ("rest"), or of both ("all")."""
    if arch and suite.kind != "host" and arch not in suite.arch:
        return False
    plain = suite.default == "yes" or bool(suite.default == "arch" and arch)
    if not which:
        return plain
    return suite.kind in ("host", "guest") and suite.default != "name" and not (which == "rest" and plain)


def is_named(choice: argparse.Namespace) -> bool:
    """Returns whether suites are chosen by their names."""
    return choice.suites not in ([], ["all"], ["rest"])


def chosen(choice: argparse.Namespace) -> list[Suite]:
    """Returns the suites to run."""
    if is_named(choice):
        return [_timed(load(name), choice.time) for name in choice.suites]
    which = "".join(choice.suites)
    suites = [_timed(suite, choice.time) for suite in load_all() if is_meant(suite, which, choice.arch)]
    if choice.module != "rust":
        report.say("The host suites check the Rust source; with another module they are left out.")
        suites = [suite for suite in suites if suite.kind != "host"]
    return suites


def _timed(suite: Suite, minutes: int) -> Suite:
    """Returns the suite with the time that it is to run, if it takes one, added to its limit."""
    minutes = minutes or suite.time
    return replace(suite, time=minutes, timeout=suite.timeout + 60 * minutes) if suite.time else suite


def test(choice: argparse.Namespace) -> int:
    began = time.monotonic()
    suites = chosen(choice)
    # Everything is built first. Beside a guest a build would slow down both, and mix their output.
    pieces = []
    for suite, parts in zip(suites, prepare_all(suites, choice)):
        run = partial(_run_quietly, suite, parts)
        pieces.append(side_by_side.Work(suite.name, guest.memory_needed(suite), run))
    titles = {piece: f"{suite.name}: {suite.description}" for piece, suite in zip(pieces, suites)}
    limits = {piece: suite.timeout for piece, suite in zip(pieces, suites)}
    # Long suites start first, so that none is alone at the end.
    order = pieces if is_named(choice) else sorted(pieces, key=lambda piece: -limits[piece])
    results = {}
    blocks = report.Blocks()
    for piece, what in side_by_side.run(order, choice.jobs, guest.memory_available()):
        match what:
            case side_by_side.Begun():
                blocks.begin(piece, titles[piece])
            case side_by_side.Ended(result):
                results[piece] = result
                blocks.end(piece)
            case _:
                blocks.case(piece, what)
    in_order = [results[piece] for piece in pieces]
    report.failures(in_order, choice.module)
    report.table(in_order, time.monotonic() - began)
    return int(any(result.count(FAILED) for result in in_order))


def _run_quietly(suite: Suite, parts: guest.Parts | Mistake | None, tell: Callable[[Case], None]) -> SuiteResult:
    """Runs a suite and prints its tests only."""
    return run_suite(suite, parts, lambda _, case: tell(case) if case else None)


def demo(choice: argparse.Namespace) -> int:
    """Prints the output of a suite, then its checks."""
    blank = False

    def show(line: str, case: Case | None) -> None:
        nonlocal blank
        # The lines for the runner, and the blank line before each of them, are not printed.
        if case or line.startswith("@@ "):
            blank = False
            return
        if blank:
            report.say()
        blank = not line
        if line:
            report.say(line)

    suite = load(choice.suite)
    result = run_suite(suite, prepare(suite, choice), show)
    report.say()
    for case in result.cases:
        report.case(case)
    report.failures([result], choice.module)
    return int(result.count(FAILED) > 0)


def _about(suite: Suite, choice: argparse.Namespace) -> dict[str, str]:
    """Returns what there is to know about a run that measures."""
    return {
        "suite": suite.name,
        "date": time.strftime("%d %B %Y"),
        "commit": choice.commit,
        "flavour": suite.kernel,
        "tools": build.tools(),
        "pattern": choice.rows or "*",
    }


def measure(choice: argparse.Namespace) -> int:
    """Prints the cost of both modules. Fails only if it could not be measured."""
    suite = load(choice.suite if choice.count == "time" else f"{choice.suite}-instructions")
    if choice.count == "functions":
        return count_functions(suite, choice)
    samples = bench.Samples()
    result = run_suite(suite, prepare(suite, choice), lambda line, _: samples.feed(line))
    report.failures([result], choice.module)
    rows = samples.rows()
    if rows:
        bench.show(rows)
        bench.save(rows, build.BUILD / f"{suite.name}.json", **_about(suite, choice))
        plot.save(rows, build.BUILD / f"{suite.name}.svg")
        plot.save_latencies(rows, build.BUILD / f"{suite.name}-waits.svg")
    elif choice.rows and not result.count(FAILED):
        print(f"no row was measured: no group of rows is named like '{choice.rows}' (Documentation/performance.rst)")
    return int(result.count(FAILED) > 0 or not rows)


def count_functions(suite: Suite, choice: argparse.Namespace) -> int:
    """Prints the instructions of each function of the kernel in what is measured."""
    parts = replace(assemble(suite, choice), plugin=f"{functions.plugin()},out={functions.COUNTS}")
    symbols = functions.Symbols(parts.kernel / "System.map")
    result = run_suite(suite, parts, lambda line, _: symbols.feed(line))
    report.failures([result], choice.module)
    measured = functions.show(symbols, parts.programs / suite.programs[0])
    return int(result.count(FAILED) > 0 or not measured)


def fill_page(_: argparse.Namespace) -> int:
    """Writes the numbers of build/bench*.json into the page about them."""
    filled, missing = page.fill(TOP / "Documentation/performance.rst", build.BUILD)
    print(f"Documentation/performance.rst: {filled} tables are written")
    for run in sorted(missing):
        print(f"  those of {run} are left as they are: make bench has not written build/{run}.json")
    return int(not filled)


def shell(choice: argparse.Namespace) -> int:
    suite = load(choice.suite)
    if suite.kind == "host":
        raise Mistake(f"suite {suite.name} has no guest")
    parts = assemble(suite, choice)
    initramfs = build.BUILD / "initramfs" / "shell.cpio"
    with guest.packed(parts, "shell", initramfs):
        return guest.shell(parts, initramfs)


def list_suites(_: argparse.Namespace) -> int:
    suites = load_all()
    width = max(len(suite.name) for suite in suites)
    for suite in suites:
        only = _ONLY[suite.default].format(suite.arch[0])
        arch = " ".join(suite.arch) if suite.kind != "host" else ""
        report.say(f"{suite.name:{width}}  {suite.kind:5}  {arch:6}  {suite.description}{only}")
    return 0


def minutes(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"TIME is in minutes, as in TIME=60m, and not {text}")
    return int(text)


def main() -> int:
    parser = argparse.ArgumentParser(prog="runner", description=__doc__)
    parser.add_argument("--module", choices=build.MODULES, default="rust", help="what serves /dev/iommu")
    parser.add_argument("--arch", default="", help="run on this architecture alone, not each suite on its own")
    parser.add_argument("--option", action="append", default=[], help="CONFIG_IOMMUFD_RS_...=y for the module")
    commands = parser.add_subparsers(required=True)
    goals = ((test, "test"), (demo, "demo"), (measure, "bench"), (shell, "shell"), (list_suites, "list"))
    for function, name in (*goals, (fill_page, "page")):
        command = commands.add_parser(name)
        command.set_defaults(function=function)
        if function is test:
            command.add_argument("--time", type=minutes, default=0, help="minutes, for suites that take a time")
            command.add_argument("--jobs", type=int, default=2, help="how many guests run at a time")
            command.add_argument("--rows", default="", help="only mistakes that match this shell pattern")
            command.add_argument("suites", nargs="*")
        elif function in (demo, shell):
            command.add_argument("suite")
        elif function is measure:
            command.add_argument("--count", choices=(*CLOCKS, "functions"), default="time", help="what to measure")
            command.add_argument("--rows", default="", help="only groups of rows that match a shell pattern, or one of several: a*|b*")
            command.add_argument("--commit", default="unknown", help="what is measured, for the file of the results")
            command.add_argument("suite", nargs="?", default="bench")
    choice = parser.parse_args()
    try:
        return choice.function(choice)
    except Mistake as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED


sys.exit(main())
