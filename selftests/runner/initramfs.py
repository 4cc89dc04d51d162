# SPDX-License-Identifier: GPL-2.0-only
"""Writes an initramfs: the kernel's "newc" cpio format, see the kernel's
Documentation/driver-api/early-userspace/buffer-format.rst."""

import stat
from pathlib import Path


class Initramfs:
    """An archive under construction."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._folders: set[str] = set()
        self._inode = 0

    def folder(self, name: str) -> None:
        """Adds a folder and those above it."""
        if name in ("", ".") or name in self._folders:
            return
        self.folder(str(Path(name).parent))
        self._folders.add(name)
        self._entry(name, stat.S_IFDIR | 0o755, b"")

    def file(self, name: str, content: bytes, mode: int = 0o755) -> None:
        self.folder(str(Path(name).parent))
        self._entry(name, stat.S_IFREG | mode, content)

    def device(self, name: str, major: int, minor: int) -> None:
        """Adds a character device."""
        self.folder(str(Path(name).parent))
        self._entry(name, stat.S_IFCHR | 0o600, b"", (major, minor))

    def content(self) -> bytes:
        """Returns the archive. Nothing can be added to it."""
        self._entry("TRAILER!!!", 0, b"")
        return b"".join(self._parts)

    def _entry(self, name: str, mode: int, content: bytes, device: tuple[int, int] = (0, 0)) -> None:
        self._inode += 1
        encoded = name.encode() + b"\0"
        # inode, mode, uid, gid, links, mtime, size, device of the file, device number, size of the
        # name, checksum
        fields = (self._inode, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(encoded), 0)
        header = b"070701" + b"".join(b"%08x" % field for field in fields)
        self._parts += [_padded(header + encoded), _padded(content)]


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
