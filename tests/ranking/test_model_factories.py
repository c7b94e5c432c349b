"""The contract of rankers: what holds for every model that is shipped, and has to for any that is added here."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from freshflow._state_tables import SnapshotFormat
from freshflow.config.schema import RankerConfig
from freshflow.ranking.ranker import Ranker, RankerState
from freshflow.ranking.reranker import RERANKER_INPUTS
from tests.ranking.choices import IN_SESSION, LAG, answered, features, hit_rate, learn, taught

SHIPPED = ["adam", "scaled", "sgd", "tree"]
CHOICES = 400
FORMAT = SnapshotFormat(b"test-1\n", "a ranker", "a damaged ranker")
MOST_BYTES = {"tree": 1_000_000}  # two trees of at most 16 leaves; the others have some hundred weights
ROOT = Path(__file__).parents[2]


def new(model: str) -> Ranker:
    return Ranker(RankerConfig(model=f"freshflow.ranking.model_factories:{model}"))


def state(of: Ranker) -> bytes:
    return FORMAT.dump({"ranker": of.state()})


def restore(of: Ranker, snapshot: bytes) -> None:
    with FORMAT.open(snapshot) as tables:
        of.restore(tables.read("ranker", RankerState))


@pytest.fixture(scope="module")
def learned() -> dict[str, bytes]:
    """The state of each shipped ranker after some choices."""
    return {model: state(taught(new(model), CHOICES)) for model in SHIPPED}


@pytest.fixture(params=SHIPPED)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ranker(model: str, learned: dict[str, bytes]) -> Ranker:
    restored = new(model)
    restore(restored, learned[model])
    return restored


def scores(of: Ranker, seed: int = 1) -> np.ndarray:
    answers = answered(of, features(seed), 2)
    of.rerank([IN_SESSION], answers)
    return answers.scores


@pytest.mark.parametrize("choices", [0, CHOICES])
def test_prediction_changes_nothing(model, ranker, choices):
    of = ranker if choices else new(model)
    before = state(of)
    for seed in range(5):
        scores(of, seed)
    assert state(of) == before


def test_restored_ranker_continues_identically(model, ranker):
    copy = new(model)
    restore(copy, state(ranker))
    for seed in range(20):
        x = features(1000 + seed)
        ours, its = learn(ranker, x, seed), learn(copy, x, seed)
        assert np.array_equal(ours.scores, its.scores)
        assert np.array_equal(ours.entries, its.entries)


def test_two_that_are_taught_the_same_agree_exactly(model):
    one, other = (taught(new(model), 60) for _ in range(2))
    for seed in range(5):
        assert np.array_equal(scores(one, seed), scores(other, seed))


def digest(model: str) -> str:
    of = taught(new(model), 60)
    return hashlib.sha256(b"".join(scores(of, seed).tobytes() for seed in range(5))).hexdigest()


def test_processes_with_other_hash_seeds_agree_exactly():
    program = (
        "from freshflow._process import configure_job_process\nconfigure_job_process()\n"
        f"from tests.ranking.test_model_factories import digest\nfor model in {SHIPPED}: print(model, digest(model))"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]
    assert said[0].split()[1::2] == [digest(model) for model in SHIPPED]


def test_a_ranker_learns_to_find_what_pleases(ranker):
    assert hit_rate(ranker) > 0.6  # chance is 5 of 40


def test_memory_is_bounded(model):
    of, random = new(model), np.random.default_rng(0)
    gradients = random.normal(0, 0.1, (100, len(of.input_names)))
    unit_gradients = random.normal(0, 0.01, (100, *of.units.shape)).astype(np.float32)
    sizes = []
    for n in range(3000):
        of.record_choice(n % 2, gradients[n % 100], unit_gradients[n % 100])
        if n % LAG == LAG - 1:
            of.apply_updates()
        sizes += [len(state(of))] if n in (999, 2999) else []
    assert sizes[1] < 1.01 * sizes[0]
    for reranker in of.rerankers:
        for x in random.uniform(0, 1, (8000, len(RERANKER_INPUTS))).tolist():
            example = dict(zip(RERANKER_INPUTS, x, strict=True))
            reranker.learn_one(example, bool((x[0] > 0.5) | (x[1] > 0.6) & (x[2] > 0.7)))
    assert len(state(of)) < MOST_BYTES.get(model, 50_000)


@pytest.mark.parametrize("choices", [0, 30])
def test_the_order_of_features_does_not_matter(model, choices):
    one, other = (taught(new(model), choices) for _ in range(2))
    models = [(one.rerankers or one.models)[0], (other.rerankers or other.models)[0]]
    names = RERANKER_INPUTS if one.rerankers else one.input_names
    random = np.random.default_rng(2)
    for n, x in enumerate(random.uniform(0, 1, (200, len(names))).tolist()):
        example = dict(zip(names, x, strict=True))
        backwards = dict(reversed(example.items()))
        chances = [m.predict_proba_one(e) for m, e in zip(models, (example, backwards), strict=True)]
        assert chances[0] == pytest.approx(chances[1], abs=1e-9)
        models[0].learn_one(example, n % 3 == 0)
        models[1].learn_one(backwards, n % 3 == 0)
