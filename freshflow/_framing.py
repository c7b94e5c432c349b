"""Pieces of bytes one after the other, each with its length and its CRC-32 before it, so that damage is seen."""

from collections.abc import Iterator
from zlib import crc32

__all__ = ["encode_frame", "decode_frames"]

LENGTH_BYTES, CHECKSUM_BYTES = 4, 4


def encode_frame(payload: bytes) -> bytes:
    """A piece of less than 4 GB with its length and its sum before it.

    >>> encode_frame(b"two") + encode_frame(b"")
    b'\\x03\\x00\\x00\\x00f\\x8a\\xca\\x11two\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00'
    """
    return len(payload).to_bytes(LENGTH_BYTES, "little") + crc32(payload).to_bytes(CHECKSUM_BYTES, "little") + payload


def decode_frames(buffer: memoryview) -> Iterator[memoryview]:
    """The pieces. Raises `ValueError` where one is cut short or is not as it was.

    >>> [bytes(piece) for piece in decode_frames(memoryview(encode_frame(b"two") + encode_frame(b"")))]
    [b'two', b'']
    """
    offset = 0
    while offset < len(buffer):
        start = offset + LENGTH_BYTES + CHECKSUM_BYTES
        end = start + int.from_bytes(buffer[offset : offset + LENGTH_BYTES], "little")
        if end > len(buffer):
            raise ValueError(f"a piece of {end - start} bytes ends {end - len(buffer)} bytes short")
        if crc32(buffer[start:end]) != int.from_bytes(buffer[offset + LENGTH_BYTES : start], "little"):
            raise ValueError(f"the {end - start} bytes from byte {start} on are not those that were written")
        yield buffer[start:end]
        offset = end
