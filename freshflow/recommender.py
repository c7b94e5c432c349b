"""The recommender as a library: the job's own pipeline without a dataflow, for notebooks and tests."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import structs

from freshflow.config.registry import NATIVE_FORMAT
from freshflow.config.schema import Config
from freshflow.engine.pipeline import Pipeline
from freshflow.events.model import Origin, RawBatch
from freshflow.events.parser import EventParser
from freshflow.events.pseudonyms import Pseudonyms
from freshflow.outputs.records import ListItem, Output, RecommendationList

LIBRARY_ORIGIN = Origin("file", "-")
INITIAL_EVENT_MS = 1_000_000_000_000  # the time before the first event; no result depends on it
_decode_items = msgspec.json.Decoder(tuple[ListItem, ...]).decode


class Recommender:
    """A recommender that learns events one by one and recommends as of the latest, like a job of one partition.

    >>> from freshflow import Recommender
    >>> recommender = Recommender()
    >>> views = [("u1", "tea"), ("u1", "cup"), ("u2", "tea"), ("u2", "cup"), ("u3", "tea")]
    >>> for n, (user, item) in enumerate(views):
    ...     recommender.learn_one({"type": "view", "user_id": user, "item_id": item, "ts": 1_700_000_000 + n})
    >>> [item.item_id for item in recommender.recommend("u3", k=2)]
    ['cup', 'tea']
    >>> recommender.recommend("u3", k=1)[0].because
    ('tea',)
    >>> round(recommender.report()["hr20"], 3)
    0.6

    Events are those of a job: late and duplicate ones are dropped, `item` events fill the catalogue, `forget` deletes a
    user, and with `users.guests`, `identify` links an anonymous user to a user. The lists that a job would publish are
    made, because the quality figures need them, but not returned.

    The library changes no setting of its process: Numba compiles for this machine's processor, and numpy uses its
    configured number of threads. A job compiles for a common processor instead, so the last bits of scores may differ
    between the two, and the first use of each waits for the compiler.
    """

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()
        has_anonymous_users = self.config.users.guests
        pseudonyms = Pseudonyms.from_config(self.config.privacy, has_anonymous_users=has_anonymous_users)
        native_config = structs.replace(self.config.events, format=NATIVE_FORMAT, map={}, types={})
        self._parser = EventParser(self.config.events, pseudonyms, has_anonymous_users=has_anonymous_users)
        self._native_parser = EventParser(native_config, pseudonyms, has_anonymous_users=has_anonymous_users)
        job = structs.replace(self.config.job, partitions=1)
        self._pipeline = Pipeline(structs.replace(self.config, job=job), lambda: 0, checks_clock_skew=False)
        self._position = 0

    def learn_one(self, event: Mapping[str, Any]) -> None:
        """Learn the next event, in any format that a job reads.

        Args:
            event: The event as a mapping of JSON values.

        Raises:
            ValueError: If the event is invalid.
        """
        self._process(event, self._parser)

    def recommend(
        self,
        user_id: str | None = None,
        k: int | None = None,
        *,
        session_id: str | None = None,
        ts_ms: int | None = None,
        exclude_seen: bool = False,
    ) -> list[ListItem]:
        """Return the best items for a user, the best first, without learning from the request.

        Args:
            user_id: The user.
            k: The number of items, at most 200; by default `lists.k`.
            session_id: The `session_id` or `guest_id` of an anonymous user, in place of `user_id`.
            ts_ms: The event time in epoch milliseconds; by default that of the last event.
            exclude_seen: True to leave out the items that the user knows.

        Raises:
            ValueError: If an argument is not allowed.
        """
        identity = {"user_id": user_id, "session_id": session_id}
        return self._request_list({"type": "request", **identity, "k": k, "exclude_seen": exclude_seen}, ts_ms)

    def search(
        self,
        user_id: str | None,
        query: str,
        items: Sequence[str],
        k: int | None = None,
        *,
        session_id: str | None = None,
        ts_ms: int | None = None,
    ) -> list[ListItem]:
        """Return the results of a search engine, re-ranked for the user.

        The search is recorded like a `search` event: the user's next visits can be choices from its results.

        Args:
            user_id: The user.
            query: The text of the search.
            items: The results of the search engine, the best first.
            k: The number of items to return; by default all.
            session_id: The `session_id` or `guest_id` of an anonymous user, in place of `user_id`.
            ts_ms: The event time in epoch milliseconds; by default that of the last event.

        Raises:
            ValueError: If an argument is not allowed.
        """
        identity = {"user_id": user_id, "session_id": session_id}
        return self._request_list({"type": "search", **identity, "query": query, "items": list(items), "k": k}, ts_ms)

    def report(self) -> dict[str, float]:
        """Return HR@20 and MRR@20 so far, by prequential validation, of the recommender and of popularity."""
        return self._pipeline.reports()[0].quality

    def _request_list(self, record: Mapping[str, Any], ts_ms: int | None) -> list[ListItem]:
        now_ms = self._pipeline.event_ts or INITIAL_EVENT_MS if ts_ms is None else ts_ms
        (published_list,) = self._process({**record, "ts": now_ms}, self._native_parser)
        assert isinstance(published_list, RecommendationList)
        return list(_decode_items(published_list.items))

    def _process(self, record: Mapping[str, Any], parser: EventParser) -> list[Output]:
        self._position += 1
        raw = msgspec.json.encode(record)
        events, rejected_records = parser.parse(RawBatch(LIBRARY_ORIGIN, ((self._position, raw),), 0))
        if rejected_records:
            raise ValueError(rejected_records[0].reason)
        return self._pipeline.process(LIBRARY_ORIGIN, events, self._position).outputs
