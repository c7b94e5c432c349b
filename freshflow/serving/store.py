"""Interface of the list store: the latest list of every key, and the read position of each input.

A batch of lists and its position are stored atomically, so a restarted server resumes from exactly the lists it had. A
store has one writer; writes of a second one are detected and refused.
"""

from importlib.util import find_spec
from typing import Protocol

from freshflow.errors import ConfigError, OutputError
from freshflow.serving.records import ChangeBatch, ListChange
from freshflow.serving.responses import ListKind
from freshflow.serving.sqlite_store import open_sqlite

REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


class StoreReader(Protocol):
    """Reader of the lists; sees every stored batch. Methods raise `OutputError` if the store cannot be read."""

    @property
    def is_blocking(self) -> bool:
        """True if a lookup waits for a network and must not run on the event loop's thread."""

    def get_list(self, kind: ListKind, key: str) -> bytes | None:
        """Return the latest list of a key as published, or None if there is none."""

    def count_lists(self) -> tuple[int, int]:
        """Return the numbers of users and of items with a list."""

    def close(self) -> None:
        """Release the connection."""


class Store(Protocol):
    """The single writer of the lists.

    During a full reload of an input, new lists replace the old ones key by key; old lists that remain are deleted when
    the end of the input is first reached, so every user keeps a list meanwhile.
    """

    def position(self, kind: ListKind) -> bytes | None:
        """Return the stored position of the input of a kind, or None before the first batch."""

    def latest_computed_at(self, kind: ListKind) -> int | None:
        """Return the latest `computed_at` of the stored records of a kind (epoch milliseconds), or None."""

    def apply(self, kind: ListKind, batch: ChangeBatch) -> list[ListChange]:
        """Store a batch and its position atomically; return the changes that readers see, in order.

        Raises:
            OutputError: If the batch cannot be written; nothing of it is stored then.
        """

    def open_reader(self) -> StoreReader:
        """Open a reader."""

    def close(self) -> None:
        """Release the store; stored batches are durable."""


def open_list_store(store_url: str) -> Store:
    """Open the store in an SQLite file, created if missing, or in Redis.

    Raises:
        FreshFlowError: If the store cannot be used, or its client is not installed.
    """
    if store_url.startswith(REDIS_SCHEMES):
        if find_spec("redis") is None:
            raise ConfigError(
                "A store in Redis needs redis, which is not installed: pip install 'freshflow[serve,serve-redis]'."
            )
        from freshflow.serving.redis_store import open_redis

        return open_redis(store_url)
    scheme, separator, _ = store_url.partition("://")
    if separator:
        raise OutputError(f"{scheme}:// is not a store: give the path of an SQLite file, or redis://host:port/number.")
    return open_sqlite(store_url)
