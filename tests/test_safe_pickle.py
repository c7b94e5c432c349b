"""Pickles of models: a tampered one executes nothing, and imports nothing."""

import os
import pickle
import sys
from collections import Counter, deque
from pathlib import Path

import numpy as np
import pytest
from river import compose, linear_model, preprocessing

from freshflow._safe_pickle import load_restricted
from freshflow.ranking import model_factories


class Calls:
    """Pickles as a call of anything."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def pickled_name(module: str, name: str) -> bytes:
    """A pickle of nothing but a name."""
    return (
        b"\x80\x04\x8c"
        + bytes([len(module)])
        + module.encode()
        + b"\x8c"
        + bytes([len(name)])
        + name.encode()
        + b"\x93."
    )


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
def test_call_of_a_function_is_refused_before_it_is_made(tmp_path, monkeypatch, function, arguments):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pickle.UnpicklingError, match="may not be named in a snapshot"):
        load_restricted(pickle.dumps([1, Calls(function, *arguments)]))
    assert not Path("broken-in").exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("freshflow.io.files.sink", "FileSink"),
        ("freshflow.engine.snapshot", "pickle"),
        ("freshflow.engine.snapshot", "pickle.loads"),
        ("freshflow.ranking.ranker", "importlib.import_module"),
        ("freshflow.ranking.ranker", "load_model_factory"),
        ("freshflow.ranking.ranker", "Ranker"),  # it imports the module that its configuration names
        ("river.datasets", "CreditCard"),
        ("river.stream", "iter_csv"),
        ("river.compose", "func.FuncTransformer"),
        ("riverside", "Anything"),
        ("builtins", "exec"),
    ],
)
def test_name_outside_the_list_is_refused(module, name):
    with pytest.raises(pickle.UnpicklingError):
        load_restricted(pickled_name(module, name))


@pytest.mark.parametrize("package", [None, "another_package"])
@pytest.mark.parametrize("name", ["Model", "touch", "Model.run"])
def test_refused_module_is_not_imported(tmp_path, monkeypatch, package, name):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "planted_module.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')\nclass Model: pass\n")
    with pytest.raises(pickle.UnpicklingError, match=r"planted_module\..* may not be named"):
        load_restricted(pickled_name("planted_module", name), package)
    assert "planted_module" not in sys.modules
    assert not (tmp_path / "imported").exists()


def test_module_of_the_allowed_package_is_imported(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "planted_package").mkdir()
    (tmp_path / "planted_package" / "models.py").write_text("from os import system\nclass Model: pass\n")
    assert load_restricted(pickled_name("planted_package.models", "Model"), "planted_package").__name__ == "Model"
    with pytest.raises(pickle.UnpicklingError):
        load_restricted(pickled_name("planted_package.models", "system"), "planted_package")
    for name in ("planted_package", "planted_package.models"):
        monkeypatch.delitem(sys.modules, name)


def test_river_models_arrays_and_collections_come_back():
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    for n in range(50):
        model.learn_one({"a": n % 7, "b": n % 3}, n % 2 == 0)
    given = {"array": np.arange(9), "counts": Counter("abca"), "latest": deque([1, 2], maxlen=3), "model": model}
    back = load_restricted(pickle.dumps(given, protocol=5))
    assert back["array"].tolist() == list(range(9))
    assert (back["counts"], back["latest"], back["latest"].maxlen) == (Counter("abca"), deque([1, 2]), 3)
    assert isinstance(back["model"], compose.Pipeline)
    assert back["model"].predict_proba_one({"a": 3, "b": 1}) == model.predict_proba_one({"a": 3, "b": 1})


@pytest.mark.parametrize("factory", ["scaled", "sgd", "tree"])
def test_shipped_models_that_are_pickled_come_back(factory):
    model = getattr(model_factories, factory)()
    for n in range(1_200):
        model.learn_one({"a": float(n % 7), "b": float(n % 3)}, n % 2 == 0)
    back = load_restricted(pickle.dumps(model, protocol=5))
    assert back.predict_proba_one({"a": 3.0, "b": 1.0}) == model.predict_proba_one({"a": 3.0, "b": 1.0})


def test_types_of_the_package_of_the_model_are_allowed():
    package, named = __name__.partition(".")[0], pickle.dumps(Calls)
    with pytest.raises(pickle.UnpicklingError):
        load_restricted(named)
    assert load_restricted(named, package) is Calls
    assert load_restricted(pickle.dumps(Calls(dict))) == {}
