"""Observed parts record the first error and the duration of snapshots, and change nothing else."""

import logging
from collections.abc import Callable
from typing import Any

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import DynamicSink, FixedPartitionedSink, StatefulSinkPartition, StatelessSinkPartition
from bytewax.testing import TestingSource, run_main

from freshflow.errors import InputError
from freshflow.streaming.observed import FailureRecorder, StepObserver


class Part(StatefulSourcePartition, StatefulSinkPartition, StatelessSinkPartition, StatefulBatchLogic):
    """A part of a source, a sink or a step, which fails in the method `fails_in`."""

    def __init__(self, fails_in: str, error: Exception, written: list[Any]) -> None:
        self.fails_in = fails_in
        self.error = error
        self.written = written
        self.batches = [[1, 2], [3]]

    def run(self, method: str) -> None:
        if method == self.fails_in:
            raise self.error

    def next_batch(self) -> list[int]:
        self.run("next_batch")
        if not self.batches:
            raise StopIteration
        return self.batches.pop(0)

    def write_batch(self, values: list[Any]) -> None:
        self.run("write_batch")
        self.written += values

    def on_batch(self, values: list[Any]) -> tuple[list[Any], bool]:
        self.run("on_batch")
        return [10 * value for value in values], StatefulBatchLogic.RETAIN

    def on_eof(self) -> tuple[list[Any], bool]:
        self.run("on_eof")
        return [-1], StatefulBatchLogic.RETAIN

    def snapshot(self) -> None:
        self.run("snapshot")


class Place(FixedPartitionedSource, FixedPartitionedSink):
    """A source or a sink with one part."""

    def __init__(self, part: Part) -> None:
        self.part = part

    def list_parts(self) -> list[str]:
        self.part.run("list_parts")
        return ["part"]

    def build_part(self, step_id: str, for_part: str, resume_state: None) -> Part:
        self.part.run("build_part")
        return self.part


class DynamicPlace(DynamicSink):
    """A sink without stored positions."""

    def __init__(self, part: Part) -> None:
        self.part = part

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Part:
        return self.part


class Observed:
    """A flow with one observed step, and what the observer recorded."""

    def __init__(self) -> None:
        self.failures = FailureRecorder()
        self.snapshots: list[str] = []
        self.written: list[Any] = []

    def observer(self, step: str) -> StepObserver:
        return StepObserver(step, self.failures, lambda step, duration_s: self.snapshots.append(step))

    def part(self, fails_in: str = "", error: Exception | None = None) -> Part:
        return Part(fails_in, error or ValueError("broken"), self.written)

    def run(self, fails_in: str = "", step: str = "", error: Exception | None = None) -> None:
        def part_of(name: str) -> Part:
            return self.part(fails_in if name == step else "", error)

        flow = Dataflow("observed")
        numbers = op.input("source", flow, self.observer("source").observe_source(Place(part_of("source"))))
        build = self.observer("logic").observe_logic(lambda state: part_of("logic"))
        keyed = op.stateful_batch("logic", op.key_on("key", numbers, lambda number: "k"), build)
        op.output("sink", keyed, self.observer("sink").observe_sink(Place(part_of("sink"))))
        run_main(flow)


def test_observed_flow_gives_the_same_items_and_times_each_snapshot() -> None:
    observed = Observed()
    observed.run()
    assert observed.written == [10, 20, 30, -1]
    assert observed.failures.first_error is None
    assert set(observed.snapshots) == {"source", "logic", "sink"}


@pytest.mark.parametrize(
    ("step", "method"),
    [
        ("source", "list_parts"),
        ("source", "build_part"),
        ("source", "next_batch"),
        ("source", "snapshot"),
        ("logic", "on_batch"),
        ("logic", "on_eof"),
        ("logic", "snapshot"),
        ("sink", "build_part"),
        ("sink", "write_batch"),
        ("sink", "snapshot"),
    ],
)
def test_observed_part_records_its_error(step: str, method: str, caplog: pytest.LogCaptureFixture) -> None:
    observed, error = Observed(), ValueError("broken")
    with caplog.at_level(logging.ERROR, "freshflow"), pytest.raises(BaseException):  # noqa: B017 # Bytewax wraps it
        observed.run(method, step, error)
    assert observed.failures.first_error is error
    assert f"Step {step} failed; the job stops." in caplog.text


def test_dynamic_sink_and_source_are_observed() -> None:
    observed = Observed()
    flow = Dataflow("dynamic")
    source = observed.observer("source").observe_source(TestingSource([1, 2]))
    sink = observed.observer("sink").observe_sink(DynamicPlace(observed.part("write_batch")))
    op.output("sink", op.input("source", flow, source), sink)
    with pytest.raises(BaseException):  # noqa: B017 # Bytewax wraps it
        run_main(flow)
    assert str(observed.failures.first_error) == "broken"


def fail_with(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def test_first_of_several_errors_is_recorded() -> None:
    observed, first, second = Observed(), InputError("The input is damaged."), InputError("And now this.")
    for error in (first, second):
        with pytest.raises(InputError):
            observed.observer("source").call(fail_with(error))
    assert observed.failures.first_error is first


def test_end_of_source_is_not_an_error() -> None:
    observed = Observed()
    with pytest.raises(StopIteration):
        observed.observer("source").call(fail_with(StopIteration()))
    assert observed.failures.first_error is None


@pytest.mark.parametrize(("error", "is_logged"), [(ZeroDivisionError("by zero"), True), (InputError("Gone."), False)])
def test_error_of_a_user_is_not_logged(error: Exception, is_logged: bool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "freshflow"), pytest.raises(type(error)):
        Observed().observer("source").observe_function(fail_with(error))()
    assert ("Step source failed" in caplog.text) == is_logged


def test_failed_snapshot_is_timed() -> None:
    observed = Observed()
    with pytest.raises(ValueError, match="full"):
        observed.observer("sink").take_snapshot(fail_with(ValueError("full")))
    assert observed.snapshots == ["sink"]
