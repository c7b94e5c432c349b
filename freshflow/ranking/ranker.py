"""The ranker of a partition: River models over features and hidden units, and the hidden units themselves.

    score(c) = w . x(c) + a . u(c)                        (freshflow.ranking.scoring)

The weights w and a are those of a River logistic regression, one for moments with a context and one for those without.
What is learned is a choice among the candidates; one `learn_one` per event teaches from all of them at once, with any
of River's optimisers (freshflow.ranking.linear).

The hidden units start random and unheard (a = 0), so a new ranker is the linear one, and learns which crosses of
features pay. They are moved by Adam along their own gradient of the same log-likelihood.

Where `ranker.model` makes something else than a logistic regression, two such models re-order the best candidates of
the default ranker, which scores and learns as ever (freshflow.ranking.reranker).
"""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freshflow.config.schema import RankerConfig
from freshflow.errors import ConfigError
from freshflow.ranking import reranker as shortlist
from freshflow.ranking.adam import Adam
from freshflow.ranking.features import FEATURES, MOMENT
from freshflow.ranking.features_content import CONTENT
from freshflow.ranking.kernel import STANDS, Answers
from freshflow.ranking.linear import effective_weights, is_linear, learn_choices
from freshflow.ranking.model_factories import adam
from freshflow.ranking.query import Query
from freshflow.ranking.reranker import SHORTLIST_INPUTS, Features
from freshflow.ranking.scoring import Weights

__all__ = ["Ranker", "model_factory"]

UNIT_RATE = 0.001  # of Adam, for the hidden units
UNIT_SPREAD = 0.2  # standard deviation of their first weights
SEED = 1

STATE = ("models", "units", "optimizer", "updates", "scored_with", "rerankers", "choices", "waiting", "random")


class Ranker:
    """Holds the weights to score with, and teaches the models; scores follow what was learned at `take_over`.

    With `content` there are its features, too. `models` are linear. `rerankers` re-order what these rank best; there
    are none where `ranker.model` is linear.
    """

    def __init__(self, config: RankerConfig, *, content: bool = False) -> None:
        factory = model_factory(config.model)
        made: list[Any] = [factory(), factory()]
        linear = is_linear(made[0])
        self.models: list[Any] = made if linear else [adam(), adam()]
        self.rerankers: list[Any] = [] if linear else made
        self.choices: list[tuple[int, NDArray[np.float64], NDArray[np.float32]]] = []
        self.waiting: list[tuple[int, Features, bool]] = []
        self.room = config.shortlist
        self.random = np.random.default_rng(SEED)
        features = (*FEATURES, *CONTENT) if content else FEATURES
        inputs = len(features) + len(MOMENT) + 1
        units = np.random.default_rng(SEED).normal(0, UNIT_SPREAD, (inputs, config.units))
        self.units = units.T.astype(np.float32, order="C")
        self.optimizer = Adam(lr=UNIT_RATE)
        self.names = (*features, *(f"unit_{h}" for h in range(config.units)))
        self.updates = self.scored_with = 0
        at_first = np.array([effective_weights(model, self.names)[0] for model in self.models])
        self.weights = Weights(at_first, self.units.copy())

    def take_over(self) -> None:
        """Learn what there was to learn by now, and score with it."""
        learned = {number for number, _, _ in self.choices}
        for number in sorted(learned):
            gradients = np.array([gradient for of, gradient, _ in self.choices if of == number])
            learn_choices(self.models[number], self.names, gradients)
        if self.choices and self.units.size:
            self.optimizer.steps(self.units, -np.array([gradient for _, _, gradient in self.choices]))
        self.choices = []
        for model, features, came in self.waiting:
            self.rerankers[model].learn_one(features, came)
        self.waiting = []
        self.scored_with = self.updates
        linear = self.weights.linear.copy()
        for number in sorted(learned):
            linear[number] = effective_weights(self.models[number], self.names)[0]
        self.weights = Weights(linear, self.units.copy())

    def rescore(self, queries: Sequence[Query], answers: Answers) -> None:
        """Let the rerankers, if there are any, re-order the best of each query in `answers`; changes no model."""
        if self.rerankers:
            shortlist.rescore(self.rerankers, queries, answers, self.weights, self.room)

    def learn(self, model: int, gradient: NDArray[np.float64], unit_gradient: NDArray[np.float32]) -> None:
        """Note a choice for `model` (0 with a context, 1 without) whose log-likelihood has these gradients.

        It is learned at `take_over`, together with others.
        """
        self.choices.append((model, gradient.copy(), unit_gradient.copy()))
        self.updates += 1

    def learn_shortlist(self, query: Query, q: int, answers: Answers) -> None:
        """Note what the item that came to query number `q` teaches the rerankers, if there are any.

        They learn it at `take_over`, so that it does not matter how many queries are answered at once.
        """
        if self.rerankers and answers.facts[q, STANDS] >= 0:
            examples = shortlist.examples(query, q, answers, self.weights, self.room, self.random)
            self.waiting += [(query.model, features, came) for features, came in examples]

    def state(self) -> dict[str, Any]:
        """All that was learned, and the weights in use, which lag behind; see `restore`."""
        return {name: getattr(self, name) for name in STATE} | {"weights": tuple(self.weights)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        vars(self).update(state | {"weights": Weights(*state["weights"])})


def model_factory(path: str) -> Callable[[], Any]:
    """The function that `package.module:function` names, tried out once. Raises `ConfigError`."""
    module, _, name = path.partition(":")
    try:
        factory = getattr(importlib.import_module(module), name)
        model = factory()
    except Exception as error:  # whatever a module of the user's raises
        raise ConfigError(
            f"ranker.model = {path!r} cannot be loaded ({error}); give package.module:function."
        ) from None
    try:
        features = dict.fromkeys(SHORTLIST_INPUTS, 0.0)
        model.learn_one(features, True)
        model.learn_one(features, False)
        shortlist.chance(model, features)
    except Exception as error:  # whatever a model of the user's raises
        raise ConfigError(
            f"ranker.model = {path!r} gives a {type(model).__name__}, which cannot tell what is chosen ({error}); "
            "give a function that returns a River classifier with learn_one and predict_proba_one."
        ) from None
    return factory  # type: ignore[no-any-return]
