"""Frames: pieces of bytes one after the other, each behind its length and its CRC-32, so that damage is noticed."""

from collections.abc import Iterator
from zlib import crc32

LENGTH_BYTES, CHECKSUM_BYTES = 4, 4


def encode_frame(payload: bytes) -> bytes:
    r"""Put the length and the sum of a piece of less than 4 GB before it.

    >>> encode_frame(b"two") + encode_frame(b"")
    b'\x03\x00\x00\x00f\x8a\xca\x11two\x00\x00\x00\x00\x00\x00\x00\x00'
    """
    return len(payload).to_bytes(LENGTH_BYTES, "little") + crc32(payload).to_bytes(CHECKSUM_BYTES, "little") + payload


def decode_frames(buffer: memoryview) -> Iterator[memoryview]:
    """Return the pieces in order. Raises `ValueError` at the first that was cut short or changed.

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
