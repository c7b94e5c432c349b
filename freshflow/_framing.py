"""Pieces of bytes one after the other, each with its length and its CRC-32 before it, so that damage is seen."""

from collections.abc import Iterator
from zlib import crc32

__all__ = ["framed", "frames"]

LENGTH_BYTES, SUM_BYTES = 4, 4


def framed(piece: bytes) -> bytes:
    """A piece of less than 4 GB with its length and its sum before it.

    >>> framed(b"two") + framed(b"")
    b'\\x03\\x00\\x00\\x00\\xf0;}\\xa7two\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00'
    """
    return len(piece).to_bytes(LENGTH_BYTES, "little") + crc32(piece).to_bytes(SUM_BYTES, "little") + piece


def frames(several: memoryview) -> Iterator[memoryview]:
    """The pieces. Raises `ValueError` where one is cut short or is not as it was.

    >>> [bytes(piece) for piece in frames(memoryview(framed(b"two") + framed(b"")))]
    [b'two', b'']
    """
    at = 0
    while at < len(several):
        start = at + LENGTH_BYTES + SUM_BYTES
        end = start + int.from_bytes(several[at : at + LENGTH_BYTES], "little")
        if end > len(several):
            raise ValueError(f"a piece of {end - start} bytes ends {end - len(several)} bytes short")
        if crc32(several[start:end]) != int.from_bytes(several[at + LENGTH_BYTES : start], "little"):
            raise ValueError(f"the {end - start} bytes from byte {start} on are not those that were written")
        yield several[start:end]
        at = end
