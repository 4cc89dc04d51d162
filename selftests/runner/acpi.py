# SPDX-License-Identifier: GPL-2.0-only
"""ACPI tables of a guest's firmware, and tables that replace them: see the kernel's
Documentation/admin-guide/acpi/initrd_table_override.rst. The IORT is laid out as in Arm DEN 0049, the IVRS
as in AMD 48882."""

import struct
from collections.abc import Callable

from initramfs import Initramfs

_ROOT_COMPLEX = 2
# A memory access flag of a root complex, CANWBS: the DMA of its devices is coherent, whatever its
# attributes. Linux allows nested page tables only with it.
_CANWBS = 1 << 2

# Types of blocks of an IVRS that describe an IOMMU with its Extended Feature registers.
_IVHD = (0x11, 0x40)
# Of IVinfo: the EFR of these blocks is valid.
_EFRSUP = 1 << 0
# Of the registers: PPRSup, GTSup, two levels of GCR3 tables, PASmax of 16 bits, GIOSup, EPHSup and HDSup;
# GCR3TRPMode. Linux uses ATS only with both of the features of page requests.
_EFR = 1 << 1 | 1 << 4 | 1 << 14 | 15 << 32 | 1 << 48 | 1 << 50 | 1 << 52
_EFR2 = 1 << 3
# Of the first, in place of what QEMU has: levels of GCR3 tables, and PASmax.
_EFR_NOT = 3 << 14 | 31 << 32


class Unexpected(Exception):
    """The table has an unexpected format."""


def _checked(name: str, table: bytes) -> bytes:
    if len(table) < 48 or table[:4] != name.encode() or struct.unpack_from("<I", table, 4) != (len(table),):
        raise Unexpected(f"this is no {name}")
    if sum(table) % 256:
        raise Unexpected(f"the {name}'s checksum is wrong")
    return table


def _newer(name: str, table: bytearray) -> bytes:
    """Returns the table with a newer revision, which the kernel wants, and the right checksum."""
    (revision,) = struct.unpack_from("<I", table, 24)
    struct.pack_into("<I", table, 24, revision + 1)
    table[9] = -(sum(table) - table[9]) % 256
    return _checked(name, bytes(table))


def with_coherent_root(iort: bytes) -> bytes:
    """Returns the table with CANWBS set for each root complex."""
    table = bytearray(_checked("IORT", iort))
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
    return _newer("IORT", table)


def with_guest_translation(ivrs: bytes) -> bytes:
    """Returns the table with IOMMUs that can nest. What Linux asks the hardware to do for it has no effect on
    QEMU's, which translates by the host's page tables alone."""
    table = bytearray(_checked("IVRS", ivrs))
    table[36] |= _EFRSUP
    place, iommus = 48, 0
    while place < len(table):
        kind, _, length = struct.unpack_from("<BBH", table, place)
        if length < 4 or place + length > len(table):
            raise Unexpected("the IVRS ends within a block")
        if kind in _IVHD:
            efr, efr2 = struct.unpack_from("<QQ", table, place + 24)
            struct.pack_into("<QQ", table, place + 24, efr & ~_EFR_NOT | _EFR, efr2 | _EFR2)
            iommus += 1
        place += length
    if not iommus:
        raise Unexpected("the IVRS has no IOMMU with features")
    return _newer("IVRS", table)


# What a machine's firmware has to say so that Linux nests, by the name of the table.
NESTING: dict[str, Callable[[bytes], bytes]] = {
    "iort": with_coherent_root,
    "ivrs": with_guest_translation,
}


def upgrade(name: str, table: bytes) -> bytes:
    """Returns a cpio archive of the tables, which the kernel reads if it is in front of the initramfs."""
    archive = Initramfs()
    archive.file(f"kernel/firmware/acpi/{name}.aml", table, 0o644)
    return archive.content()
