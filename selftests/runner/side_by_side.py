# SPDX-License-Identifier: GPL-2.0-only
"""Runs several pieces of work at a time, each in a thread, and passes their events to one reader."""

import queue
import threading
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# An event for the reader. The last one has the result of the work, or the exception.
_EVENT, _RESULT, _RAISED = range(3)


@dataclass(frozen=True, eq=False)
class Work:
    """A piece of work. `run` gets a function that takes events, and returns the result. Two pieces of the same
    name do not run at a time, since they would write the same files."""

    name: str
    # The MiB that it takes while it runs.
    memory: int
    run: Callable[[Callable[[Any], None]], Any]


@dataclass(frozen=True)
class Begun:
    """The first event of a piece of work."""


@dataclass(frozen=True)
class Ended:
    """The last event of a piece of work."""

    result: Any


def run(pieces: list[Work], width: int, memory: int) -> Iterator[tuple[Work, Any]]:
    """Runs the pieces in order, `width` at a time and together within so many MiB of memory; one that needs
    more runs alone. Yields their events. An exception of a piece is raised here."""
    happened: queue.SimpleQueue[tuple[Work, int, Any]] = queue.SimpleQueue()
    waiting = list(pieces)
    running: list[Work] = []
    while waiting or running:
        while piece := _next(waiting, running, width, memory):
            waiting.remove(piece)
            running.append(piece)
            # An interrupt ends all threads and their processes: none outlives the reader.
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
    """Returns a piece that can be started now, if there is one."""
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
