"""What travels between the steps of the graph, and between processes as bytes."""

import pickle

import pytest

from freshflow.engine.messages import EventBatch, ForwardedBatch, RemoteEventBatch, StepBatch
from freshflow.users.store import UserStore
from freshflow.users.updates import UserInteraction
from tests.builders.streams import ORIGIN, config, request, search, view

EVENTS = [view(1, "u", "a"), view(2, "u", "b"), request(3, "u"), search(4, "v", "c", "b"), view(5, "v", "c")]
STEPS = UserStore(config().users, 10, n_broadcast=2).process(EVENTS)
SIGNALS = [step.remote_event for step in STEPS if isinstance(step, UserInteraction)]  # two lessons and a visit


@pytest.mark.parametrize(
    "batch",
    [
        EventBatch(1, ORIGIN, 7, EVENTS, 5),
        ForwardedBatch(1, 0, ORIGIN, 7, [*STEPS, *EVENTS], 5, {"late": 1}),
        StepBatch(1, ORIGIN, 7, STEPS, 5, {"users": 2}),
        RemoteEventBatch(1, ORIGIN, SIGNALS),
    ],
    ids=lambda batch: type(batch).__name__,
)
def test_a_batch_arrives_in_another_process_as_it_was(batch):
    assert pickle.loads(pickle.dumps(batch)) == batch
