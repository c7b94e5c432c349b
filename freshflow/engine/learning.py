"""Prequential validation and training: each prediction is scored against its event, then the ranker learns it."""

from zlib import crc32

import numpy as np

from freshflow.config.schema import Config
from freshflow.engine.micro_batch import MicroBatch
from freshflow.engine.reporting import PartitionMetrics
from freshflow.items.statistics import ItemStatistics
from freshflow.metrics.ranking_metrics import CUTOFF
from freshflow.ranking.kernel import (
    N_CANDIDATES,
    TARGET_INDEX,
    TARGET_POPULARITY_RANK,
    TARGET_RANK,
    RankingResults,
)
from freshflow.ranking.ranker import Ranker
from freshflow.users.updates import RemoteExample, UserInteraction

# The ranker applies its updates after this many examples, the smaller number for the first `N_EARLY_EXAMPLES`. A longer
# interval costs less time, but quality while weights still move fast.
EARLY_UPDATE_INTERVAL, UPDATE_INTERVAL, N_EARLY_EXAMPLES = 8, 16, 4096
# The odds of an item that a dismissal pushes down count at most 1 / MIN_INVERSE_ODDS.
MIN_INVERSE_ODDS = 1 / 20


class Learning:
    """The training of a partition's ranker."""

    def __init__(
        self, config: Config, item_statistics: ItemStatistics, ranker: Ranker, metrics: PartitionMetrics
    ) -> None:
        self._drift_decay = config.items.drift_decay
        self._item_statistics = item_statistics
        self._ranker = ranker
        self._metrics = metrics

    @property
    def n_examples(self) -> int:
        """The number of examples that the ranker has learned from."""
        return self._metrics.counts["events"] + self._metrics.counts["remote_examples"]

    @property
    def n_examples_to_update(self) -> int:
        """The number of examples until the ranker applies its updates."""
        n_examples = self.n_examples
        update_interval = EARLY_UPDATE_INTERVAL if n_examples < N_EARLY_EXAMPLES else UPDATE_INTERVAL
        return update_interval - n_examples % update_interval

    def learn(self, batch: MicroBatch, rankings: RankingResults) -> None:
        """Score the predictions of a micro-batch, then record the ranker's examples from its events."""
        results = rankings.results[: len(batch.queries)].tolist()
        ranks, popular_ranks = [], []
        for step, q in batch.training_steps:
            result, query = results[q], batch.queries[q]
            if type(step) is UserInteraction:
                ranks.append(result[TARGET_RANK])
                popular_ranks.append(result[TARGET_POPULARITY_RANK])
                self._detect_drift(step.event.user_id, result[TARGET_RANK])
                factor = step.event.sample_weight
            elif type(step) is RemoteExample:
                factor = step.visit.sample_weight
            else:
                factor = -step.event.sample_weight * _odds(q, rankings)
            if result[TARGET_INDEX] >= 0:
                if factor > 0:
                    self._ranker.record_rerank_examples(query, q, rankings)
                self._record_choice(factor, query.model_index, q, rankings)
        n_interactions, counts = len(batch.interactions), self._metrics.counts
        counts["events"] += n_interactions
        counts["remote_examples"] += batch.n_examples - n_interactions
        self._metrics.prequential.fresh.add(ranks)
        self._metrics.prequential.popularity.add(popular_ranks)

    def _detect_drift(self, user_id: str, rank: int) -> None:
        """Down-weight co-visitation counts after a severe drop of the hit rate."""
        if self._metrics.drift_detector.update(0 < rank <= CUTOFF, crc32(user_id.encode())) == "steep fall":
            self._metrics.counts["drift_adaptations"] += 1
            self._item_statistics.decay_covisits(self._drift_decay)

    def _record_choice(self, factor: float, model: int, q: int, rankings: RankingResults) -> None:
        """Record the gradient of a choice, times `factor`."""
        gradient, unit_gradient = rankings.gradient[q], rankings.unit_gradient[q]
        if factor != 1:
            gradient, unit_gradient = gradient * factor, unit_gradient * np.float32(factor)
        self._ranker.record_choice(model, gradient, unit_gradient)


def _odds(q: int, rankings: RankingResults) -> float:
    """Return P / (1 - P) of a dismissed item: the gradient of log(1 - P) is that of log P times minus this."""
    target = rankings.results[q, TARGET_INDEX]
    if target < 0:
        return 0.0
    scores = rankings.scores[q, : rankings.results[q, N_CANDIDATES]]
    inverse_odds = np.exp(np.delete(scores, target) - scores[target]).sum()
    return float(1 / max(inverse_odds, MIN_INVERSE_ODDS))
