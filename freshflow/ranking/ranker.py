"""The ranker of a partition: linear models over features and hidden units, and the hidden units.

    score(c) = w . x(c) + a . u(c)                        (freshflow.ranking.scoring)

The weights w and a are those of a River logistic regression, one for users with a context and one for those without.
It learns the choice among all candidates of an event at once (freshflow.ranking.linear).

The hidden units start random with a = 0, so a new ranker is linear, and learns which combinations of features help.
Adam moves them along their own gradient of the same log-likelihood.

Where `ranker.model` is not a logistic regression, two such models re-order the best candidates of the default ranker,
which scores and learns as always (freshflow.ranking.reranker).
"""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freshflow._state_tables import StateTable
from freshflow.config.schema import RankerConfig
from freshflow.errors import ConfigError
from freshflow.items.statistics import ItemStatistics
from freshflow.ranking import reranker
from freshflow.ranking.adam import Adam
from freshflow.ranking.features import CONTEXT_FEATURES, FEATURES
from freshflow.ranking.features_content import CONTENT_FEATURES
from freshflow.ranking.kernel import TARGET_INDEX, RankingResults
from freshflow.ranking.linear import effective_weights, is_linear, learn_choices
from freshflow.ranking.model_factories import adam
from freshflow.ranking.model_state import AdamState, ModelState, adam_state, model_state, restore_adam, restore_model
from freshflow.ranking.query import Query
from freshflow.ranking.reranker import RERANKER_INPUTS, FeatureValues, ItemFeatures
from freshflow.ranking.scoring import Weights

UNIT_LEARNING_RATE = 0.001  # of Adam, for the hidden units
UNIT_INIT_STD = 0.2  # standard deviation of the initial V
RANKER_SEED = 1
OWN_PACKAGE = __name__.partition(".")[0]


class RankerState(StateTable, frozen=True):
    """State of a ranker.

    `linear_weights` (2, F) and `applied_units` (H, I) are the weights in use, which lag behind the `models` and the
    `hidden_units` (H, I). N choices wait to be learned: `pending_models` (N,) with `pending_gradients` (N, F) and
    `pending_unit_gradients` (N, H, I); and examples for the rerankers. `random_state` is that of the PCG64 generator
    that draws negatives: state and increment, 16 bytes each, and the 32 bits that are left over, if any are.
    """

    models: list[ModelState]
    rerankers: list[ModelState]
    hidden_units: NDArray[np.float32]
    unit_optimizer: AdamState
    linear_weights: NDArray[np.float64]
    applied_units: NDArray[np.float32]
    n_updates: int
    n_applied_updates: int
    pending_models: list[int]
    pending_gradients: NDArray[np.float64]
    pending_unit_gradients: NDArray[np.float32]
    pending_examples: list[tuple[int, FeatureValues, bool]]
    random_state: tuple[bytes, bytes, int, int]


class Ranker:
    """Holds the weights to score with and trains the models; the weights change at `apply_updates` only.

    Args:
        config: The settings of the ranker.
        content: Include the features of content.

    Attributes:
        models: Linear models, with a context and without.
        rerankers: Models that re-order what these rank best; empty where `ranker.model` is linear.
        weights: The weights to score with.
    """

    def __init__(
        self, config: RankerConfig, *, content: bool = False, item_statistics: ItemStatistics | None = None
    ) -> None:
        factory = load_model_factory(config.model)
        package = config.model.partition(":")[0].partition(".")[0]
        self._model_package = package if package != OWN_PACKAGE else None  # whose types a pickled model may name
        configured_models: list[Any] = [factory(), factory()]
        self.item_features = None if item_statistics is None else ItemFeatures(item_statistics)
        linear_weights = is_linear(configured_models[0]) and not self.item_features
        self.models: list[Any] = configured_models if linear_weights else [adam(), adam()]
        self.rerankers: list[Any] = [] if linear_weights else configured_models
        self.pending_gradients: list[tuple[int, NDArray[np.float64], NDArray[np.float32]]] = []
        self.pending_examples: list[tuple[int, FeatureValues, bool]] = []
        self.n_reranked = config.shortlist
        self.rng = np.random.default_rng(RANKER_SEED)
        features = (*FEATURES, *CONTENT_FEATURES) if content else FEATURES
        inputs = len(features) + len(CONTEXT_FEATURES) + 1
        units = np.random.default_rng(RANKER_SEED).normal(0, UNIT_INIT_STD, (inputs, config.hidden_units))
        self.units = units.T.astype(np.float32, order="C")
        self.optimizer = Adam(lr=UNIT_LEARNING_RATE)
        self.input_names = (*features, *(f"unit_{h}" for h in range(config.hidden_units)))
        self.n_updates = self.n_applied_updates = 0
        initial_weights = np.array([effective_weights(model, self.input_names)[0] for model in self.models])
        self.weights = Weights(initial_weights, self.units.copy())

    def apply_updates(self) -> None:
        """Learn all pending choices and examples, and score with the result from now on."""
        model_indices = {model_index for model_index, _, _ in self.pending_gradients}
        for model_index in sorted(model_indices):
            gradients = np.array([gradient for index, gradient, _ in self.pending_gradients if index == model_index])
            learn_choices(self.models[model_index], self.input_names, gradients)
        if self.pending_gradients and self.units.size:
            self.optimizer.apply_gradients(
                self.units, -np.array([gradient for _, _, gradient in self.pending_gradients])
            )
        self.pending_gradients = []
        for reranker_index, features, is_target in self.pending_examples:
            self.rerankers[reranker_index].learn_one(features, is_target)
        self.pending_examples = []
        self.n_applied_updates = self.n_updates
        linear_weights = self.weights.linear.copy()
        for model_index in sorted(model_indices):
            linear_weights[model_index] = effective_weights(self.models[model_index], self.input_names)[0]
        self.weights = Weights(linear_weights, self.units.copy())

    def rerank(self, queries: Sequence[Query], rankings: RankingResults) -> None:
        """Let the rerankers, if there are any, re-order the best of each query in `rankings`; no model changes."""
        if self.rerankers:
            reranker.rerank_shortlists(
                self.rerankers, queries, rankings, self.weights, self.n_reranked, self.item_features
            )

    def record_choice(
        self, model_index: int, gradient: NDArray[np.float64], unit_gradient: NDArray[np.float32]
    ) -> None:
        """Keep a choice until `apply_updates` learns it.

        Args:
            model_index: 0 with a context, 1 without.
            gradient: (F + H,) of the choice's log-likelihood by w and a; copied.
            unit_gradient: (H, F + Z + 1) of the choice's log-likelihood by V; copied.
        """
        self.pending_gradients.append((model_index, gradient.copy(), unit_gradient.copy()))
        self.n_updates += 1

    def record_rerank_examples(self, query: Query, q: int, rankings: RankingResults) -> None:
        """Keep the examples of a query for the rerankers, if there are any, until `apply_updates` learns them.

        So the number of queries in a batch makes no difference.

        Args:
            query: The query.
            q: Its number.
            rankings: The results of its batch.
        """
        if self.rerankers and rankings.results[q, TARGET_INDEX] >= 0:
            examples = reranker.build_examples(
                query, q, rankings, self.weights, self.n_reranked, self.rng, self.item_features
            )
            self.pending_examples += [(query.model_index, features, is_target) for features, is_target in examples]

    def state(self) -> RankerState:
        """Return the state."""
        return RankerState(
            models=[model_state(model) for model in self.models],
            rerankers=[model_state(model) for model in self.rerankers],
            hidden_units=self.units,
            unit_optimizer=adam_state(self.optimizer),
            linear_weights=self.weights.linear,
            applied_units=self.weights.units,
            n_updates=self.n_updates,
            n_applied_updates=self.n_applied_updates,
            pending_models=[model_index for model_index, _, _ in self.pending_gradients],
            pending_gradients=np.array([gradient for _, gradient, _ in self.pending_gradients], np.float64),
            pending_unit_gradients=np.array([gradient for _, _, gradient in self.pending_gradients], np.float32),
            pending_examples=self.pending_examples,
            random_state=_random_state(self.rng),
        )

    def restore(self, state: RankerState) -> None:
        """Continue from a state of a ranker with the same configuration."""
        self.models, self.rerankers = (
            [restore_model(model, stored, self._model_package) for model, stored in zip(models, states, strict=True)]
            for models, states in ((self.models, state.models), (self.rerankers, state.rerankers))
        )
        self.units = state.hidden_units
        restore_adam(self.optimizer, state.unit_optimizer)
        self.weights = Weights(state.linear_weights, state.applied_units)
        self.n_updates, self.n_applied_updates = state.n_updates, state.n_applied_updates
        self.pending_gradients = list(
            zip(state.pending_models, state.pending_gradients, state.pending_unit_gradients, strict=True)
        )
        self.pending_examples = state.pending_examples
        self.rng = _generator(state.random_state)


def _random_state(rng: np.random.Generator) -> tuple[bytes, bytes, int, int]:
    state = rng.bit_generator.state
    numbers = state["state"]
    return (
        numbers["state"].to_bytes(16, "little"),
        numbers["inc"].to_bytes(16, "little"),
        state["has_uint32"],
        state["uinteger"],
    )


def _generator(random_state: tuple[bytes, bytes, int, int]) -> np.random.Generator:
    state, increment, has_uint32, uinteger = random_state
    generator = np.random.default_rng(RANKER_SEED)
    generator.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": int.from_bytes(state, "little"), "inc": int.from_bytes(increment, "little")},
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }
    return generator


def load_model_factory(path: str) -> Callable[[], Any]:
    """Import the function that `package.module:function` names, and try it out once.

    Raises:
        ConfigError: The function cannot be imported or called, or its model does not learn and predict as a classifier.
    """
    module, _, name = path.partition(":")
    try:
        factory = getattr(importlib.import_module(module), name)
        model = factory()
    except Exception as error:  # a user's module may raise anything
        raise ConfigError(
            f"ranker.model = {path!r} cannot be loaded ({error}); give package.module:function."
        ) from None
    try:
        features = dict.fromkeys(RERANKER_INPUTS, 0.0)
        model.learn_one(features, True)
        model.learn_one(features, False)
        reranker.predict_probability(model, features)
    except Exception as error:  # a user's model may raise anything
        raise ConfigError(
            f"ranker.model = {path!r} gives a {type(model).__name__}, which cannot tell what is chosen ({error}); "
            "give a function that returns a River classifier with learn_one and predict_proba_one."
        ) from None
    return factory  # type: ignore[no-any-return]
