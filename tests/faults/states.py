"""What a job has learned, read from its recovery folder as the next job would read it, and compared."""

import pickle
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from freshflow.config.schema import Config
from freshflow.engine.messages import EventBatch
from freshflow.engine.partition import Partition
from freshflow.engine.snapshot import collect_tables, state_settings
from freshflow.state.bytewax_store import read_latest_snapshots
from freshflow.state.recovery_store import open_state_backend
from freshflow.streaming.experiment import Variants
from freshflow.streaming.messages import EndOfInput, PartitionMessage
from freshflow.streaming.operators.partitions import PartitionOperator
from freshflow.streaming.operators.users import UserOperator

__all__ = ["differences", "positions", "states", "totals", "users"]

States = dict[str, Any]


def states(folder: Path, config: Config) -> States:
    """By step and partition what is known at the end of a job: users with their histories, and all of a partition."""
    keeping = open_state_backend(folder)
    variants = Variants([config])
    shape = variants.split_settings()
    found: States = {}
    for (step, key), blob in sorted(_latest(folder).items()):
        stored = pickle.loads(blob)
        if step == "users":
            bucket = UserOperator(
                variants, lambda: 0, keeping.open_state(stored, EventBatch | EndOfInput, shape)
            ).stage.store
            found[f"users {key}"] = {"users": list(bucket.users.items()), "interactions": bucket.n_interactions}
        elif step == "partitions":
            kept = keeping.open_state(stored, PartitionMessage, state_settings(config) | shape)
            partition = PartitionOperator(config, lambda: 0, kept, live=False).partition
            if partition is not None:
                found[f"partitions {key}"] = _plain(partition)
    return found


def positions(folder: Path) -> dict[str, Any]:
    """How far the sources have read."""
    return {key: pickle.loads(blob) for (step, key), blob in _latest(folder).items() if step == "source"}


def users(found: States) -> dict[str, Any]:
    """All users with their histories, whichever partition they are in."""
    return {user: state for key, of in found.items() if key.startswith("users ") for user, state in of["users"]}


def totals(found: States, *names: str) -> dict[str, int]:
    """Counts over all partitions."""
    partitions = [of for key, of in found.items() if key.startswith("partitions ")]
    return {name: sum(of["report"].counts.get(name, 0) for of in partitions) for name in names}


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Where two values differ, down to numbers and arrays; at most one sentence for each branch.

    >>> differences({"a": [1, 2], "b": 3}, {"a": [1, 4], "b": 3})
    ['.a[1]: 2 is not 4']
    """
    if type(one) is not type(other):
        return [f"{where}: a {type(one).__name__} is no {type(other).__name__}"]
    if isinstance(one, np.ndarray):
        same = one.shape == other.shape and one.dtype == other.dtype and one.tobytes() == other.tobytes()
        return [] if same else [f"{where}: arrays of {one.shape} and {other.shape} differ"]
    if isinstance(one, msgspec.Struct):
        return differences(msgspec.structs.asdict(one), msgspec.structs.asdict(other), where)
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [f"{where}: {len(one.keys() ^ other.keys())} keys are in one only"]
        return [found for name in one for found in differences(one[name], other[name], f"{where}.{name}")]
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            return [f"{where}: {len(one)} are not {len(other)}"]
        found = (differences(*pair, f"{where}[{n}]") for n, pair in enumerate(zip(one, other, strict=True)))
        return next((several for several in found if several), [])
    if hasattr(one, "__dict__") and not callable(one):
        return differences(vars(one), vars(other), where)
    # What is written in another language than Python can often only say what it is by being pickled.
    same = one == other or (type(one).__eq__ is object.__eq__ and pickle.dumps(one) == pickle.dumps(other))
    return [] if same else [f"{where}: {one!r} is not {other!r}"]


def _latest(folder: Path) -> dict[tuple[str, str], bytes]:
    """Return the last snapshot of each step and key; of a job that ended well that is how it ended."""
    latest = read_latest_snapshots(folder).values()
    return {(stored.step_id.rpartition(".")[2], stored.key): stored.pickled for stored in latest}


def _plain(partition: Partition) -> dict[str, Any]:
    """Return all that a snapshot holds of a partition, as values that can be compared."""
    return {**collect_tables(partition), "report": partition.report()}
