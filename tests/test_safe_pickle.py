"""Snapshots that were tampered with execute nothing."""

import os
import pickle
from collections import Counter, deque
from pathlib import Path

import numpy as np
import pytest
from river import compose, linear_model, preprocessing

from freshflow._safe_pickle import load_restricted


class Calls:
    """Pickles as a call of anything."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (os.system, ("touch broken-in",)),
        (eval, ("open('broken-in', 'w')",)),
        (getattr, ("", "upper")),
        (np.memmap, ("broken-in", "uint8", "w+", 0, (8,))),
        (Path.touch, (Path("broken-in"),)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_calls_a_function_is_refused_before_it_is_called(tmp_path, monkeypatch, function, arguments):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pickle.UnpicklingError, match="is not what a snapshot is made of"):
        load_restricted(pickle.dumps([1, Calls(function, *arguments)]), [])
    assert not Path("broken-in").exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("freshflow.io.files.sink", "FileSink"),
        ("freshflow.engine.snapshot", "pickle"),
        ("freshflow.engine.snapshot", "pickle.loads"),
        ("freshflow.ranking.ranker", "importlib.import_module"),
        ("freshflow.ranking.ranker", "load_model_factory"),
        ("river.datasets", "CreditCard"),
        ("river.stream", "iter_csv"),
        ("builtins", "exec"),
    ],
)
def test_what_names_no_type_of_data_is_refused(module, name):
    named = b"\x80\x04\x8c" + bytes([len(module)]) + module.encode() + b"\x8c" + bytes([len(name)]) + name.encode()
    with pytest.raises(pickle.UnpicklingError):
        load_restricted(named + b"\x93.", [])


def test_river_models_arrays_and_collections_come_back():
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    for n in range(50):
        model.learn_one({"a": n % 7, "b": n % 3}, n % 2 == 0)
    buffers: list[pickle.PickleBuffer] = []
    given = {"array": np.arange(9), "counts": Counter("abca"), "latest": deque([1, 2], maxlen=3), "model": model}
    data = pickle.dumps(given, protocol=5, buffer_callback=buffers.append)
    back = load_restricted(data, [bytearray(buffer.raw()) for buffer in buffers])
    assert back["array"].tolist() == list(range(9))
    assert (back["counts"], back["latest"], back["latest"].maxlen) == (Counter("abca"), deque([1, 2]), 3)
    assert isinstance(back["model"], compose.Pipeline)
    assert back["model"].predict_proba_one({"a": 3, "b": 1}) == model.predict_proba_one({"a": 3, "b": 1})


def test_types_of_the_package_that_the_ranker_comes_from_are_allowed():
    data = pickle.dumps(Calls(dict))
    here = __name__.partition(".")[0]
    named = pickle.dumps(Calls)
    with pytest.raises(pickle.UnpicklingError):
        load_restricted(named, [])
    assert load_restricted(named, [], here) is Calls
    assert load_restricted(data, []) == {}
