"""Store in Redis: for each kind a hash of lists by key, and a hash with the state of its input.

    freshflow:version                      the version of this layout
    freshflow:<kind>                       key -> list, as published
    freshflow:<kind>:generations           key -> the number of full reloads of the input before the list was written
    freshflow:<kind>:input                 position, generation, swept, made

A batch is written in one transaction, which fails if the position in Redis is not the writer's last one.
"""

from typing import Any
from urllib.parse import urlsplit

import redis

from freshflow.errors import ConfigError, OutputError
from freshflow.serving.records import ChangeBatch, ListChange
from freshflow.serving.responses import LIST_KINDS, ListKind

REDIS_LAYOUT_VERSION = b"1"
REDIS_TIMEOUT_S = 2.0  # timeout of a command; after it a request fails with 503
MAX_COMMAND_FIELDS = 1000  # fields in one command, to keep each command short
KEY_PREFIX = "freshflow:"


class RedisStoreReader:
    """Reader of the lists, for use on any thread."""

    is_blocking = True

    def __init__(self, client: Any, address: str) -> None:
        self._client = client
        self._address = address

    def get_list(self, kind: ListKind, key: str) -> bytes | None:
        """Return the latest list of a key as published, or None if there is none."""
        try:
            list_json: bytes | None = self._client.hget(KEY_PREFIX + kind, key.encode())
        except UnicodeEncodeError:  # half of a surrogate pair, which no id contains
            return None
        except redis.RedisError as error:
            raise _store_error(self._address, "read", error) from None
        return list_json

    def count_lists(self) -> tuple[int, int]:
        """Return the numbers of users and of items with a list."""
        try:
            users, items = (int(self._client.hlen(KEY_PREFIX + kind)) for kind in LIST_KINDS)
        except redis.RedisError as error:
            raise _store_error(self._address, "read", error) from None
        return users, items

    def close(self) -> None:
        """Do nothing: the store owns the connections."""


class RedisStore:
    """Writer of the lists (`freshflow.serving.store.Store`); `address` is the URL without the login, for messages."""

    def __init__(self, client: Any, address: str) -> None:
        self._client = client
        self._address = address
        self._client.set(f"{KEY_PREFIX}version", REDIS_LAYOUT_VERSION, nx=True)
        if self._client.get(f"{KEY_PREFIX}version") != REDIS_LAYOUT_VERSION:
            raise OutputError(
                f"The store {address} is of another version; give another --store, or flush it to read all lists again."
            )
        self._positions = {kind: self.position(kind) for kind in LIST_KINDS}

    def position(self, kind: ListKind) -> bytes | None:
        """Return the stored position of the input of a kind, or None before the first batch."""
        position: bytes | None = self._client.hget(f"{KEY_PREFIX}{kind}:input", "position")
        return position

    def latest_computed_at(self, kind: ListKind) -> int | None:
        """Return the latest `computed_at` of the stored records of a kind (epoch milliseconds), or None."""
        return int(self._client.hget(f"{KEY_PREFIX}{kind}:input", "made") or 0) or None

    def apply(self, kind: ListKind, batch: ChangeBatch) -> list[ListChange]:
        """Store a batch and its position in one transaction; return the changes that readers see, in order.

        Raises:
            OutputError: If Redis fails, or another server has written to the store.
        """
        try:
            removals = self._apply(kind, batch)
        except redis.RedisError as error:
            raise _store_error(self._address, "written", error) from None
        self._positions[kind] = batch.position
        return [*batch.changes, *removals]

    def open_reader(self) -> RedisStoreReader:
        """Return a reader that shares the connections."""
        return RedisStoreReader(self._client, self._address)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _apply(self, kind: ListKind, batch: ChangeBatch) -> list[ListChange]:
        lists_key, generations_key, input_key = (
            f"{KEY_PREFIX}{kind}{suffix}" for suffix in ("", ":generations", ":input")
        )
        latest_changes = {change.key.encode(): change for change in batch.changes}
        with self._client.pipeline(transaction=True) as pipe:
            pipe.watch(input_key)
            input_state = pipe.hgetall(input_key)
            position = input_state.get(b"position")
            if position != self._positions[kind]:
                if position == batch.position:  # this batch was stored, but the reply was lost
                    return []
                raise OutputError(
                    f"The store {self._address} was written by another server, or has lost data; give each "
                    "server its own --store, and restart this one."
                )
            generation = int(input_state.get(b"generation", 0)) + batch.is_full_reload
            swept_generation, latest_computed_at = int(input_state.get(b"swept", 0)), int(input_state.get(b"made", 0))
            swept_keys: list[bytes] = []
            if batch.is_at_end and swept_generation < generation:
                stored_generations = self._client.hscan_iter(generations_key, count=MAX_COMMAND_FIELDS)
                swept_keys = sorted(
                    {key for key, key_generation in stored_generations if int(key_generation) < generation}
                    - latest_changes.keys()
                )
                swept_generation = generation
            pipe.multi()
            deleted_keys = [*(key for key, change in latest_changes.items() if change.value is None), *swept_keys]
            stored_values = {key: change.value for key, change in latest_changes.items() if change.value is not None}
            for name in (lists_key, generations_key):
                for start in range(0, len(deleted_keys), MAX_COMMAND_FIELDS):
                    pipe.hdel(name, *deleted_keys[start : start + MAX_COMMAND_FIELDS])
            if stored_values:
                pipe.hset(lists_key, mapping=stored_values)
                pipe.hset(generations_key, mapping=dict.fromkeys(stored_values, generation))
            latest_computed_at = max([latest_computed_at, *(change.computed_at for change in batch.changes)])
            new_state = {
                "position": batch.position,
                "generation": generation,
                "swept": swept_generation,
                "made": latest_computed_at,
            }
            pipe.hset(input_key, mapping=new_state)
            pipe.execute()
        return [ListChange(key.decode(), None) for key in swept_keys]


def open_redis(url: str) -> RedisStore:
    """Open the store at a redis:// URL.

    Raises:
        ConfigError: If the URL is malformed.
        OutputError: If Redis cannot be reached, or holds another layout.
    """
    address = _redact_login(url)
    try:
        client = redis.Redis.from_url(url, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S)
    except (ValueError, TypeError):  # the message may contain the password
        raise ConfigError(f"{address} is not a Redis URL; write redis://host:port/number.") from None
    try:
        return RedisStore(client, address)
    except redis.RedisError as error:
        client.close()
        raise _store_error(address, "used", error) from None


def _redact_login(url: str) -> str:
    """Return a URL without its login and options, which can contain a password.

    >>> _redact_login("redis://user:secret@localhost:6379/1?password=secret")
    'redis://localhost:6379/1'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _store_error(address: str, action: str, error: redis.RedisError) -> OutputError:
    reason = str(error).strip().rstrip(".") or type(error).__name__
    return OutputError(f"The store {address} cannot be {action}: {reason}; look at Redis, its address and its login.")
