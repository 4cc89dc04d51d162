# SPDX-License-Identifier: GPL-2.0-only
"""Runs several pieces of work at a time, each in a thread, and tells one reader what happens in them."""

import queue
import threading
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# Between the work and the reader: an end may be the work's result, or what it raised.
_EVENT, _RESULT, _RAISED = range(3)


@dataclass(frozen=True, eq=False)
class Work:
    """Something to run. `run` gets a function that takes what happens, and returns the result. Two of one name
    never run at a time: they would write the same files."""

    name: str
    # MiB that it takes while it runs.
    memory: int
    run: Callable[[Callable[[Any], None]], Any]


@dataclass(frozen=True)
class Begun:
    """The first that happens in a piece of work."""


@dataclass(frozen=True)
class Ended:
    """The last that happens in a piece of work."""

    result: Any


def run(pieces: list[Work], width: int, memory: int) -> Iterator[tuple[Work, Any]]:
    """Runs the pieces, `width` at a time and together within so many MiB of memory; one that needs more runs
    alone. Begins with the first ones. Yields what happens as it happens; what a piece raises is raised here."""
    happened: queue.SimpleQueue[tuple[Work, int, Any]] = queue.SimpleQueue()
    waiting = list(pieces)
    running: list[Work] = []
    while waiting or running:
        while piece := _next(waiting, running, width, memory):
            waiting.remove(piece)
            running.append(piece)
            # No thread outlives the reader: an interrupt ends them all, and their processes with them.
            threading.Thread(target=_work, args=(piece, happened), daemon=True).start()
            yield piece, Begun()
        piece, kind, what = happened.get()
        if kind == _EVENT:
            yield piece, what
            continue
        running.remove(piece)
        if kind == _RAISED:
            raise what
        yield piece, Ended(what)


def _next(waiting: list[Work], running: list[Work], width: int, memory: int) -> Work | None:
    """What can be begun now."""
    if not running:
        return waiting[0] if waiting else None
    if len(running) >= width:
        return None
    left = memory - sum(piece.memory for piece in running)
    names = [piece.name for piece in running]
    return next((piece for piece in waiting if piece.memory <= left and piece.name not in names), None)


def _work(piece: Work, happened: "queue.SimpleQueue[tuple[Work, int, Any]]") -> None:
    try:
        result = piece.run(lambda what: happened.put((piece, _EVENT, what)))
    except BaseException as raised:
        happened.put((piece, _RAISED, raised))
    else:
        happened.put((piece, _RESULT, result))
