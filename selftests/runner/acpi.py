# SPDX-License-Identifier: GPL-2.0-only
"""ACPI tables of a guest's firmware, and such as its kernel uses instead: see the kernel's
Documentation/admin-guide/acpi/initrd_table_override.rst. The IORT is laid out as in Arm DEN 0049."""

import struct

from initramfs import Initramfs

_ROOT_COMPLEX = 2
# Of a root complex's memory access flags: all of its devices' DMA is coherent, whatever attributes
# it is given. Linux lets a guest have tables of its own only where it is.
_CANWBS = 1 << 2


class Unexpected(Exception):
    """The table is not what it should be."""


def _checked(table: bytes) -> bytes:
    if len(table) < 48 or table[:4] != b"IORT" or struct.unpack_from("<I", table, 4) != (len(table),):
        raise Unexpected("this is no IORT")
    if sum(table) % 256:
        raise Unexpected("the IORT's checksum is wrong")
    return table


def with_coherent_root(iort: bytes) -> bytes:
    """The table with CANWBS set for each root complex, and of a newer revision, as an upgrade must be."""
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
    """An archive that the kernel finds before the initramfs that it is put in front of."""
    archive = Initramfs()
    archive.file(f"kernel/firmware/acpi/{name}.aml", table, 0o644)
    return archive.content()
