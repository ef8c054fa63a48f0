"""Global heaps, where HDF5 keeps texts of variable length: one kind of damage hangs the library.

A heap lists objects, each with its size. The library moves on by that size, so that a free object
of size 0 keeps it in one place for ever, in C code that nothing interrupts. Every heap is checked
before HDF5 sees it.
"""

import re
import struct

SIGNATURE = re.compile(rb"GCOL\x01\x00\x00\x00")
HEADER, OBJECT = struct.Struct("<8xQ"), struct.Struct("<H6xQ")  # size; index and size
LARGEST = 4 << 20  # bytes; a longer read is data, and of a longer heap the beginning is checked


def starts(data: bytes | bytearray | memoryview) -> list[int]:
    """Offsets of the heaps that begin in some bytes of a file."""
    if len(data) > LARGEST:
        return []
    return [match.start() for match in SIGNATURE.finditer(data)]


def size(header: bytes) -> int:
    """Bytes of a heap, from its first 16."""
    return int(HEADER.unpack_from(header)[0])


def is_endless(heap: bytes) -> bool:
    """True if HDF5 would never reach the end of a heap."""
    at = HEADER.size
    while at + OBJECT.size <= len(heap):
        index, length = OBJECT.unpack_from(heap, at)
        step = length if index == 0 else OBJECT.size + -(-length // 8) * 8
        if step % 2**64 == 0 or step >= 2**63:  # its own sum is of 64 bits
            return True
        at += step
    return False
