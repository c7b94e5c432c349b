"""Keys under which Bytewax routes partitions to workers.

Bytewax sends a key to worker SipHash-1-3(key) modulo the workers; few keys balance badly by chance, so a partition's
key carries a salt with which partition p lands on worker p modulo n, for any n workers that divide 64.
"""

from functools import cache
from itertools import count

MAX_BALANCED_WORKERS = 64  # names are balanced for 1, 2, 4, ... 64 workers
MASK_64_BITS = (1 << 64) - 1


@cache
def partition_key(partition: int) -> str:
    """Return the routing key of a partition; it does not depend on the number of partitions."""
    names = (f"{partition:03d}.{salt}" for salt in count())
    return next(name for name in names if worker_of(name, MAX_BALANCED_WORKERS) == partition % MAX_BALANCED_WORKERS)


def worker_of(key: str, n_workers: int) -> int:
    """Return the worker to which Bytewax 0.21 routes a key."""
    return _siphash13(key.encode() + b"\xff") % n_workers


def _siphash13(message: bytes) -> int:
    """Compute SipHash-1-3 with a zero key (Aumasson and Bernstein, 2012), as Rust's default hasher does."""
    v = [0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573]
    padded = message + bytes(7 - len(message) % 8) + bytes([len(message) & 0xFF])
    for offset in range(0, len(padded), 8):
        word = int.from_bytes(padded[offset : offset + 8], "little")
        v[3] ^= word
        _sip_round(v)
        v[0] ^= word
    v[2] ^= 0xFF
    for _ in range(3):
        _sip_round(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def _sip_round(v: list[int]) -> None:
    v[0] = (v[0] + v[1]) & MASK_64_BITS
    v[1] = _rotate_left(v[1], 13) ^ v[0]
    v[0] = _rotate_left(v[0], 32)
    v[2] = (v[2] + v[3]) & MASK_64_BITS
    v[3] = _rotate_left(v[3], 16) ^ v[2]
    v[0] = (v[0] + v[3]) & MASK_64_BITS
    v[3] = _rotate_left(v[3], 21) ^ v[0]
    v[2] = (v[2] + v[1]) & MASK_64_BITS
    v[1] = _rotate_left(v[1], 17) ^ v[2]
    v[2] = _rotate_left(v[2], 32)


def _rotate_left(word: int, bits: int) -> int:
    return ((word << bits) | (word >> (64 - bits))) & MASK_64_BITS
