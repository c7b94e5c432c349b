"""Publication of the lists that events ask for: features choose, lists are encoded, unchanged ones are suppressed."""

from collections.abc import Callable
from zlib import crc32

import numpy as np
from msgspec import Raw

from freshflow.config.schema import Config
from freshflow.engine.micro_batch import MicroBatch
from freshflow.engine.queries import list_length
from freshflow.engine.reporting import PartitionMetrics
from freshflow.events.model import Identify, Interaction, Origin, Request, Search
from freshflow.feature import Feature, ListBatch
from freshflow.items.index import NO_ROW
from freshflow.items.statistics import ItemStatistics
from freshflow.outputs.assembly import (
    add_contributions,
    add_propensities,
    build_list_items,
    extract_lists,
    resolve_ties,
)
from freshflow.outputs.json_writer import JsonListWriter, encode_items
from freshflow.outputs.list_ids import CAUSE_BY_EVENT_TYPE, list_id, list_name
from freshflow.outputs.records import Model, Output, RecommendationList
from freshflow.ranking.kernel import ENTRY_ROW, TARGET_RANK, RankingResults
from freshflow.ranking.ranker import Ranker
from freshflow.refresh.active_users import ActiveUsers
from freshflow.users.profile import UserProfile
from freshflow.users.updates import ListRequested, ProfileMerged, UserInteraction


class ListEncoder:
    """The final step of a partition's lists: it breaks ties, lets features choose, and encodes the items as JSON."""

    def __init__(
        self,
        config: Config,
        item_statistics: ItemStatistics,
        ranker: Ranker,
        features: tuple[Feature, ...],
        json_writer: JsonListWriter,
    ) -> None:
        self._has_contributions = config.lists.contributions
        self._item_statistics = item_statistics
        self._ranker = ranker
        self._features = features
        self._json_writer = json_writer

    def encode(self, lists: ListBatch) -> list[Raw]:
        """Return the items of each list as JSON; `lists` holds the chosen items from then on."""
        ids, rankings = self._item_statistics.index.ids, lists.rankings
        resolve_ties(lists.query_indices, rankings, ids)
        for feature in self._features:
            feature.choose_items(lists)
        list_arrays = extract_lists(lists.query_indices, lists.lengths, rankings)
        if not self._has_contributions and not lists.propensities:
            return self._json_writer.encode_lists(list_arrays, ids)
        texts = []
        for q, items in zip(lists.query_indices, build_list_items(list_arrays, ids), strict=True):
            if self._has_contributions:
                items = add_contributions(
                    items, lists.queries[q], q, rankings, self._ranker.weights, lists.adjustments.get(q, ())
                )
            texts.append(encode_items(add_propensities(items, lists.propensities.get(q, {}))))
        return texts


class ListPublisher:
    """The publication of the lists of a micro-batch, with a record of each user's latest list."""

    def __init__(
        self,
        number: int,
        config: Config,
        clock: Callable[[], int],
        item_statistics: ItemStatistics,
        ranker: Ranker,
        active_users: ActiveUsers,
        features: tuple[Feature, ...],
        encoder: ListEncoder,
        metrics: PartitionMetrics,
    ) -> None:
        self._number = number
        self._config = config
        self._clock = clock
        self._item_statistics = item_statistics
        self._ranker = ranker
        self._active_users = active_users
        self._features = features
        self._encoder = encoder
        self._metrics = metrics

    def publish(self, origin: Origin, batch: MicroBatch, rankings: RankingResults) -> list[Output]:
        """Return the lists that the steps of a micro-batch ask for, without those that have not changed.

        Args:
            origin: The file or topic of the steps.
            batch: The steps and their queries.
            rankings: The results of the queries.
        """
        events = [step.event for step, _ in batch.list_steps]
        query_indices = [q for _, q in batch.list_steps]
        lengths = [list_length(event, self._config) for event in events]
        lists = ListBatch(query_indices, lengths, batch.queries, rankings, self._features, origin, events)
        texts = self._encoder.encode(lists) if events else []
        is_changed = self._record_lists(batch, rankings)
        computed_at, model = self._clock(), Model(self._number, self._ranker.n_applied_updates)
        answers: dict[int, Raw] = {}
        if batch.search_steps:
            for feature in self._features:
                answers.update(feature.answer_searches(batch.search_steps, lists))
        outputs: list[Output] = []
        counts, variant = self._metrics.counts, self._metrics.variant
        for (step, q), text in zip(batch.list_steps, texts, strict=True):
            if not is_changed.get(q, True):
                counts["unchanged"] += 1
                continue
            counts["answers" if type(step) is ListRequested else "lists"] += 1
            items, policy = answers.get(q, text), lists.policies.get(q)
            outputs.append(_build_list(origin, step.event, items, computed_at, model, variant, policy))
        return outputs

    def _record_lists(self, batch: MicroBatch, rankings: RankingResults) -> dict[int, bool]:
        """Record the acts of users and the lists they are shown from now on; score the lists they were shown before.

        Returns:
            By query number, True if the list of an act differs from the one before. Requests do not count as acts.
        """
        acts: list[tuple[str, UserProfile]] = []
        event_numbers, target_rows, query_indices, interaction_indices = [], [], [], []
        event_number = self._metrics.counts["events"] - len(batch.interactions)
        index = self._item_statistics.index
        for step, q in batch.list_steps:
            if type(step) is ListRequested:
                continue
            if type(step) is UserInteraction:
                event_number += 1
                interaction_indices.append(len(acts))
            acts.append((step.event.user_id, step.profile_after))
            event_numbers.append(event_number)
            target_rows.append(NO_ROW if type(step) is ProfileMerged else index.get(step.event.item_id))
            query_indices.append(q)
        if not acts:
            return {}
        query_array = np.array(query_indices)
        activity = self._active_users.record_activity(
            acts,
            np.array(event_numbers, np.int64),
            np.array([profile.last_ms for _, profile in acts], np.int64),
            np.array(target_rows, np.int32),
            rankings.entries[query_array, : self._config.lists.k, ENTRY_ROW],
        )
        for feature in self._features:
            feature.on_lists_recorded(activity.slots, query_array, rankings, None)
        published_ranks = activity.ranks[interaction_indices].tolist()
        self._metrics.prequential.published.add(published_ranks)
        if self._metrics.variant is not None:
            self._record_variant(batch, rankings, published_ranks)
        return dict(zip(query_indices, activity.is_new.tolist(), strict=True))

    def _record_variant(self, batch: MicroBatch, rankings: RankingResults, published_ranks: list[int]) -> None:
        """Record ranks by group of users, for the comparison of variants."""
        user_hashes = [crc32(step.event.user_id.encode()) for step in batch.interactions]
        predictions = [q for step, q in batch.training_steps if type(step) is UserInteraction]
        ranks = rankings.results[predictions, TARGET_RANK].tolist()
        self._metrics.user_groups.add(user_hashes, ranks, published_ranks)


def _build_list(
    origin: Origin,
    event: Interaction | Request | Search | Identify,
    items: Raw,
    computed_at: int,
    model: Model,
    variant: str | None,
    policy: str | None,
) -> RecommendationList[Raw]:
    cause = CAUSE_BY_EVENT_TYPE[type(event)]
    return RecommendationList(
        user_id=event.user_id,
        list_id=list_id(list_name(origin, event.position, cause, event.nth)),
        surface="search" if type(event) is Search else "feed",
        cause=cause,
        event_ts=event.ts_ms,
        computed_at=computed_at,
        source=origin.source_ref(event.position, event.nth),
        model=model,
        items=items,
        request_id=event.request_id if type(event) is Request or type(event) is Search else None,
        variant=variant,
        policy=policy,
    )
