"""The first error of a step is noted on its way out; the end of a source is none."""

import logging

import pytest

from freshflow.errors import InputError
from freshflow.streaming.failure_recorder import FailureRecorder


class Part:
    """Like a part of a source."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def next_batch(self) -> str:
        if self.error is not None:
            raise self.error
        return "batch"


def test_what_a_step_returns_is_passed_on() -> None:
    failures = FailureRecorder()
    assert failures.wrap_function("double", lambda n: 2 * n)(3) == 6
    assert failures.wrap_builder("source", Part)(None).next_batch() == "batch"
    assert failures.first_error is None


def test_the_first_of_several_errors_is_the_one_that_is_noted() -> None:
    failures, first, second = FailureRecorder(), InputError("The input is damaged."), InputError("And now this.")
    for error in (first, second):
        with pytest.raises(InputError):
            failures.wrap_builder("source", Part)(error).next_batch()
    assert failures.first_error is first


def test_the_end_of_a_source_is_no_error() -> None:
    failures = FailureRecorder()
    with pytest.raises(StopIteration):
        failures.wrap_builder("source", Part)(StopIteration()).next_batch()
    assert failures.first_error is None


@pytest.mark.parametrize(("error", "told"), [(ZeroDivisionError("by zero"), True), (InputError("Gone."), False)])
def test_only_what_a_user_cannot_have_caused_is_logged_with_its_step(error, told, caplog) -> None:
    with caplog.at_level(logging.ERROR, "freshflow"), pytest.raises(type(error)):
        FailureRecorder().wrap_builder("source", Part)(error).next_batch()
    assert ("Step source failed" in caplog.text) == told
