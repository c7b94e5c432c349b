"""The state of models: arrays by name of those that a ranker has by default, a pickle of any other."""

import pickle
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from freshflow._safe_pickle import load_restricted
from freshflow.ranking.adam import Adam
from freshflow.ranking.choice_regression import ChoiceRegression


class AdamState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """State of an `Adam`: first and second moments `m` and `v`, empty before the first step."""

    n_iterations: int
    m: NDArray[Any]
    v: NDArray[Any]


class ModelState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """State of one model.

    A `ChoiceRegression` has `names` (F,), `weights` (F,) and the state of its optimizer; its hyperparameters come from
    the configuration. Any other model is `pickled`.
    """

    names: tuple[str, ...] = ()
    weights: NDArray[np.float64] | None = None
    optimizer: AdamState | None = None
    pickled: bytes | None = None


def adam_state(optimizer: Adam) -> AdamState:
    """Return the state of an optimizer."""
    empty = np.empty(0)
    return AdamState(
        optimizer.n_iterations,
        empty if optimizer.m is None else optimizer.m,
        empty if optimizer.v is None else optimizer.v,
    )


def restore_adam(optimizer: Adam, state: AdamState) -> None:
    """Let an optimizer continue from a state."""
    optimizer.n_iterations = state.n_iterations
    optimizer.m, optimizer.v = (state.m, state.v) if state.m.size else (None, None)


def model_state(model: Any) -> ModelState:
    """Return the state of a model."""
    if type(model) is not ChoiceRegression:  # River's pipelines pass isinstance for their last step's class
        return ModelState(pickled=pickle.dumps(model, protocol=5))
    return ModelState(names=model.names, weights=model.values, optimizer=adam_state(model.optimizer))


def restore_model(model: Any, state: ModelState, package: str | None = None) -> Any:
    """Return a model that continues from a state.

    Args:
        model: A new model, made as the configuration says.
        state: The state of a model that was made alike.
        package: The package of the user's that the model comes from, whose types a pickle may name.

    Returns:
        `model` itself, or the model that was pickled.

    Raises:
        pickle.UnpicklingError: A pickle names anything but types of River, numpy and the package.
        ValueError: The state is of a model of another kind.
    """
    if type(model) is not ChoiceRegression:
        if state.pickled is None:
            raise ValueError("the state of a model is no pickle")
        return load_restricted(state.pickled, package)
    if state.weights is None or state.optimizer is None:
        raise ValueError("the state of a model has no weights")
    model.names, model.values = state.names, state.weights
    restore_adam(model.optimizer, state.optimizer)
    return model
