"""Pieces of bytes one after the other, each with its length before it."""

from collections.abc import Iterator

__all__ = ["framed", "frames"]

LENGTH_BYTES = 4


def framed(piece: bytes) -> bytes:
    """A piece of less than 4 GB with its length before it.

    >>> framed(b"two") + framed(b"")
    b'\\x03\\x00\\x00\\x00two\\x00\\x00\\x00\\x00'
    """
    return len(piece).to_bytes(LENGTH_BYTES, "little") + piece


def frames(several: memoryview) -> Iterator[memoryview]:
    """The pieces. Raises `ValueError` where the last one is cut short.

    >>> [bytes(piece) for piece in frames(memoryview(framed(b"two") + framed(b"")))]
    [b'two', b'']
    """
    at = 0
    while at < len(several):
        start = at + LENGTH_BYTES
        end = start + int.from_bytes(several[at:start], "little")
        if end > len(several):
            raise ValueError(f"a piece of {end - start} bytes ends {end - len(several)} bytes short")
        yield several[start:end]
        at = end
