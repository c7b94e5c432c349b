"""What is kept: the latest list of every key, and how far the inputs have been read.

A batch of lists and the position behind it are taken over together or not at all, so that whoever starts again goes on
from the very lists that it had. A store has one writer: what another one wrote is noticed and refused.
"""

from importlib.util import find_spec
from typing import Protocol

from freshflow.errors import ConfigError, OutputError
from freshflow.serving.records import ChangeBatch, ListChange
from freshflow.serving.responses import ListKind
from freshflow.serving.sqlite_store import open_sqlite

__all__ = ["Store", "StoreReader", "open_list_store"]

REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


class StoreReader(Protocol):
    """Looks lists up; it sees all that has been taken over. Raises `OutputError` where the store does not answer."""

    @property
    def is_blocking(self) -> bool:
        """Whether looking up waits for a network, and so is not for the thread of the event loop."""

    def get_list(self, kind: ListKind, key: str) -> bytes | None:
        """The latest list of a key, as it was published."""

    def count_lists(self) -> tuple[int, int]:
        """How many users and items have lists."""

    def close(self) -> None:
        """Let go of the store."""


class Store(Protocol):
    """The one writer. Lists of an input that is read anew take the place of the old ones key by key; what is left of
    the old ones goes when its end is first reached, so that meanwhile nobody is without a list.
    """

    def position(self, kind: ListKind) -> bytes | None:
        """How far the input of a kind has been read."""

    def latest_computed_at(self, kind: ListKind) -> int | None:
        """When the latest record of a kind was made (epoch milliseconds), as it says itself."""

    def apply(self, kind: ListKind, batch: ChangeBatch) -> list[ListChange]:
        """Take over a batch and its position; what has changed for readers, in order.

        Raises `OutputError` if it cannot be written, and then nothing of it is.
        """

    def open_reader(self) -> StoreReader:
        """Something to read with."""

    def close(self) -> None:
        """Let go of the store; what was taken over is safe."""


def open_list_store(store_url: str) -> Store:
    """The store in an SQLite file, made if there is none, or in Redis. Raises a `FreshFlowError` if that cannot be."""
    if store_url.startswith(REDIS_SCHEMES):
        if find_spec("redis") is None:
            raise ConfigError(
                "A store in Redis needs redis, which is not installed: pip install 'freshflow[serve,serve-redis]'."
            )
        from freshflow.serving.redis_store import open_redis

        return open_redis(store_url)
    scheme, separator, _ = store_url.partition("://")
    if separator:
        raise OutputError(f"{scheme}:// is no store: give the path of an SQLite file, or redis://host:port/number.")
    return open_sqlite(store_url)
