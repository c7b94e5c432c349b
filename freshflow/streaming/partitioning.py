"""Keys under which Bytewax routes partitions to workers.

Bytewax sends a key to worker SipHash-1-3(key) modulo the workers; few keys balance badly by chance, so a partition's
key carries a salt with which partition p lands on worker p modulo n, for any n workers that divide 64.
"""

from functools import cache
from itertools import count

from freshflow.state.bytewax_store import worker_of

MAX_BALANCED_WORKERS = 64  # names are balanced for 1, 2, 4, ... 64 workers


@cache
def partition_key(partition: int) -> str:
    """Return the routing key of a partition; it does not depend on the number of partitions."""
    names = (f"{partition:03d}.{salt}" for salt in count())
    return next(name for name in names if worker_of(name, MAX_BALANCED_WORKERS) == partition % MAX_BALANCED_WORKERS)
