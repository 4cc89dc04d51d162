# SPDX-License-Identifier: GPL-2.0-only
"""ACPI tables of a guest's firmware, and tables that replace them: see the kernel's
Documentation/admin-guide/acpi/initrd_table_override.rst. The IORT is laid out as in Arm DEN 0049."""

import struct

from initramfs import Initramfs

_ROOT_COMPLEX = 2
# A memory access flag of a root complex, CANWBS: the DMA of its devices is coherent, whatever its
# attributes. Linux allows nested page tables only with it.
_CANWBS = 1 << 2


class Unexpected(Exception):
    """The table has an unexpected format."""


def _checked(table: bytes) -> bytes:
    if len(table) < 48 or table[:4] != b"IORT" or struct.unpack_from("<I", table, 4) != (len(table),):
        raise Unexpected("this is no IORT")
    if sum(table) % 256:
        raise Unexpected("the IORT's checksum is wrong")
    return table


def with_coherent_root(iort: bytes) -> bytes:
    """Returns the table with CANWBS set for each root complex, and a newer revision, which the kernel wants."""
    table = bytearray(_checked(iort))
    count, place = struct.unpack_from("<II", table, 36)
    roots = 0
    for _ in range(count):
        if place + 16 > len(table):
            raise Unexpected("the IORT ends within a node")
        kind, length = struct.unpack_from("<BH", table, place)
        if kind == _ROOT_COMPLEX:
            table[place + 16 + 7] |= _CANWBS
            roots += 1
        place += length
    if not roots:
        raise Unexpected("the IORT has no root complex")
    (revision,) = struct.unpack_from("<I", table, 24)
    struct.pack_into("<I", table, 24, revision + 1)
    table[9] = -(sum(table) - table[9]) % 256
    return bytes(_checked(bytes(table)))


def upgrade(name: str, table: bytes) -> bytes:
    """Returns a cpio archive of the tables, which the kernel reads if it is in front of the initramfs."""
    archive = Initramfs()
    archive.file(f"kernel/firmware/acpi/{name}.aml", table, 0o644)
    return archive.content()
