# SPDX-License-Identifier: GPL-2.0-only
"""Finds complaints in the kernel's log, which no test may cause."""

import re

# The first line of each kind of complaint. A call trace alone is not one: sysrq prints them too.
_COMPLAINTS = re.compile(
    r"""
      \bWARNING:                        # WARN, lockdep, RCU, refcount, module code
    | \bBUG:                            # NULL pointer, KASAN, KFENCE, atomic sleep, soft lockup, bad page
    | \bkernel\ BUG\ at
    | \bOops\b
    | Kernel\ panic
    | general\ protection\ fault
    | Internal\ error:
    | Unable\ to\ handle\ kernel
    | UBSAN:
    | refcount_t:
    | (?:list_add|list_del)\ corruption
    | rust_kernel:\ panicked
    | \bpanicked\ at\b
    | INFO:\ task\ .*\ blocked\ for\ more
    | INFO:\ (?:possible\ |trying\ to\ register|suspicious)
    | (?:possible|inconsistent)\ .*\ (?:dependency|locking|lock\ state|recursi)
    | \brcu:?\b.*\bstall
    | soft\ lockup | hard\ LOCKUP
    | unreferenced\ object              # kmemleak
    """,
    re.VERBOSE,
)

# Taint flags that a complaint sets: bad page, die, WARN, soft lockup.
_TAINTS = {5: "bad page", 7: "oops", 9: "warning", 14: "soft lockup"}

# How many lines of the log are quoted with a complaint, and how many complaints are quoted.
_FOLLOWING = 8
_QUOTED = 3


class KernelLog:
    """The kernel messages of a guest, read line by line."""

    def __init__(self, expected: str) -> None:
        self._expected = re.compile(expected) if expected else None
        self._quotes: list[list[str]] = []
        self._open = 0
        self.count = 0

    def feed(self, line: str) -> bool:
        """Reads a line. Returns whether it is a complaint."""
        complaint = bool(_COMPLAINTS.search(line)) and not (self._expected and self._expected.search(line))
        if complaint:
            self.count += 1
            if not self._open and len(self._quotes) < _QUOTED:
                self._quotes.append([])
                self._open = _FOLLOWING
        if self._open:
            self._open -= 1
            self._quotes[-1].append(line)
        return complaint

    def tainted(self, flags: int) -> None:
        """Reads the taint flags at the end, which show a complaint that the console did not print."""
        said = [text for bit, text in _TAINTS.items() if flags >> bit & 1]
        if said and not self.count and not self._expected:
            self.count += 1
            self._quotes.append([f"the kernel is tainted by: {', '.join(said)}"])

    def quote(self) -> str:
        """Returns the complaints for a report, shortened."""
        return "\n...\n".join("\n".join(quote) for quote in self._quotes)
