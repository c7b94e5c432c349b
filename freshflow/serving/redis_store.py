"""The store in Redis: a hash of lists by key for each kind, and beside it what is known of its input.

    freshflow:version                      the version of all this
    freshflow:<kind>                       key -> list, as it was published
    freshflow:<kind>:generations           key -> how often the input had been read anew when it was written
    freshflow:<kind>:input                 position, generation, swept, made

Everything of a batch is written in one transaction, on the condition that the position is still the one before.
"""

from typing import Any
from urllib.parse import urlsplit

import redis

from freshflow.errors import ConfigError, OutputError
from freshflow.serving.records import Batch, Change
from freshflow.serving.responses import KINDS, Kind

__all__ = ["RedisReading", "RedisStore", "open_redis"]

VERSION = b"1"
WAIT_S = 2.0  # for an answer; then a request is told that there is none
AT_ONCE = 1000  # fields in one command
PREFIX = "freshflow:"


class RedisReading:
    """Looks lists up, from any thread."""

    waits = True

    def __init__(self, client: Any, shown: str) -> None:
        self._client = client
        self._shown = shown

    def value(self, kind: Kind, key: str) -> bytes | None:
        """The latest list of a key, as it was published."""
        try:
            found: bytes | None = self._client.hget(PREFIX + kind, key.encode())
        except UnicodeEncodeError:  # half of a surrogate pair, which no id is
            return None
        except redis.RedisError as error:
            raise _lost(self._shown, "read", error) from None
        return found

    def counts(self) -> tuple[int, int]:
        """How many users and items have lists."""
        try:
            users, items = (int(self._client.hlen(PREFIX + kind)) for kind in KINDS)
        except redis.RedisError as error:
            raise _lost(self._shown, "read", error) from None
        return users, items

    def close(self) -> None:
        """The connections are the store's."""


class RedisStore:
    """The writer (`freshflow.serving.store.Store`); `shown` is where it is, without a password."""

    def __init__(self, client: Any, shown: str) -> None:
        self._client = client
        self._shown = shown
        self._client.set(f"{PREFIX}version", VERSION, nx=True)
        if self._client.get(f"{PREFIX}version") != VERSION:
            raise OutputError(
                f"The store {shown} is of another version; give another --store, or flush it to have all read anew."
            )
        self._positions = {kind: self.position(kind) for kind in KINDS}

    def position(self, kind: Kind) -> bytes | None:
        """How far the input of a kind has been read."""
        found: bytes | None = self._client.hget(f"{PREFIX}{kind}:input", "position")
        return found

    def made(self, kind: Kind) -> int | None:
        """When the latest record of a kind was made (epoch milliseconds), as it says itself."""
        return int(self._client.hget(f"{PREFIX}{kind}:input", "made") or 0) or None

    def apply(self, kind: Kind, batch: Batch) -> list[Change]:
        """Take over a batch and its position; what has changed for readers, in order. Raises `OutputError`."""
        try:
            gone = self._apply(kind, batch)
        except redis.RedisError as error:
            raise _lost(self._shown, "written", error) from None
        self._positions[kind] = batch.position
        return [*batch.changes, *gone]

    def reading(self) -> RedisReading:
        """Something to read with."""
        return RedisReading(self._client, self._shown)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _apply(self, kind: Kind, batch: Batch) -> list[Change]:
        lists, generations, input = (f"{PREFIX}{kind}{ending}" for ending in ("", ":generations", ":input"))
        latest = {change.key.encode(): change for change in batch.changes}
        with self._client.pipeline(transaction=True) as pipe:
            pipe.watch(input)
            known = pipe.hgetall(input)
            position = known.get(b"position")
            if position != self._positions[kind]:
                if position == batch.position:  # the answer to this very batch was lost on its way
                    return []
                raise OutputError(
                    f"The store {self._shown} is written by another server, or has lost what was written; give each "
                    "server a --store of its own, and start this one again."
                )
            generation = int(known.get(b"generation", 0)) + batch.anew
            swept, made = int(known.get(b"swept", 0)), int(known.get(b"made", 0))
            gone: list[bytes] = []
            if batch.at_end and swept < generation:
                held = self._client.hscan_iter(generations, count=AT_ONCE)
                gone = sorted({key for key, of in held if int(of) < generation} - latest.keys())
                swept = generation
            pipe.multi()
            dropped = [*(key for key, change in latest.items() if change.value is None), *gone]
            kept = {key: change.value for key, change in latest.items() if change.value is not None}
            for name in (lists, generations):
                for at in range(0, len(dropped), AT_ONCE):
                    pipe.hdel(name, *dropped[at : at + AT_ONCE])
            if kept:
                pipe.hset(lists, mapping=kept)
                pipe.hset(generations, mapping=dict.fromkeys(kept, generation))
            made = max([made, *(change.computed_at for change in batch.changes)])
            now = {"position": batch.position, "generation": generation, "swept": swept, "made": made}
            pipe.hset(input, mapping=now)
            pipe.execute()
        return [Change(key.decode(), None) for key in gone]


def open_redis(url: str) -> RedisStore:
    """The store at a redis:// address. Raises a `FreshFlowError` if it cannot be used."""
    shown = _without_login(url)
    try:
        client = redis.Redis.from_url(url, socket_timeout=WAIT_S, socket_connect_timeout=WAIT_S)
    except (ValueError, TypeError):  # its words may show the password
        raise ConfigError(f"{shown} is no address of Redis; write redis://host:port/number.") from None
    try:
        return RedisStore(client, shown)
    except redis.RedisError as error:
        client.close()
        raise _lost(shown, "used", error) from None


def _without_login(url: str) -> str:
    """An address as it may be shown: options and logins can hold a password.

    >>> _without_login("redis://user:secret@localhost:6379/1?password=secret")
    'redis://localhost:6379/1'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _lost(shown: str, what: str, error: redis.RedisError) -> OutputError:
    said = str(error).strip().rstrip(".") or type(error).__name__
    return OutputError(f"The store {shown} cannot be {what}: {said}; look at Redis, its address and its login.")
