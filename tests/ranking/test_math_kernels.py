"""The logarithm and the power against the C library's, over all that features can be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshflow.ranking.math_kernels import scale_exp2, scale_log1p

RELATIVE, ABSOLUTE = 4e-7, 1e-7
counts = st.lists(st.floats(0, 2.0**60, width=32), max_size=40)
SPAN = np.concatenate([[0], np.logspace(-30, 30, 20_001)]).astype(np.float32)


def logarithm(x: np.ndarray, factor: float = 1, scale: float = 1, n: int | None = None) -> np.ndarray:
    x = x.copy()
    scale_log1p(x, len(x) if n is None else n, factor, scale)
    return x


def power(x: np.ndarray, ages: np.ndarray, factor: float = 1) -> np.ndarray:
    x = x.copy()
    scale_exp2(x, ages, len(x), factor)
    return x


def close(ours: np.ndarray, exact: np.ndarray) -> None:
    np.testing.assert_allclose(ours, exact, rtol=RELATIVE, atol=ABSOLUTE)


@pytest.mark.parametrize("factor", [1, 9.0, 0.01])
@pytest.mark.parametrize("scale", [1, 0.25])
def test_the_logarithm_of_one_and_more(factor, scale):
    x = SPAN[SPAN < 1e30]
    close(logarithm(x, factor, scale), np.float64(scale) * np.log1p(np.float64(np.float32(factor)) * x))


@pytest.mark.parametrize("factor", [1, 1 / 24, 3.7])
def test_the_power_of_two_of_an_age(factor):
    ages = np.concatenate([[0, 0.5, 1, 1.5], np.logspace(-6, 4, 20_001)]).astype(np.float32)
    x = np.linspace(0, 100, len(ages), dtype=np.float32)
    products = np.maximum(np.float32(-factor) * ages, np.float32(-126)).astype(np.float64)
    close(power(x, ages, factor), x * 2.0**products)


def test_the_power_of_whole_ages_is_exact():
    ages = np.arange(65, dtype=np.float32)
    assert power(np.ones(65, np.float32), ages).tolist() == (2.0**-ages).tolist()


def test_what_is_beyond_64_is_nothing_and_no_number_without_a_leading_bit():
    ages = np.array([64.0, 64.01, 100, 126.5, 150, 1e6, np.inf], np.float32)
    assert power(np.full(len(ages), 1e-6, np.float32), ages)[1:].tolist() == [0.0] * 6


@settings(deadline=None, derandomize=True, max_examples=100)
@given(counts, st.data())
def test_only_the_first_so_many_are_changed_and_each_as_if_alone(values, data):
    n = data.draw(st.integers(0, len(values)))
    x = np.array(values, np.float32)
    ours, aged = logarithm(x, n=n), x.copy()
    scale_exp2(aged, x, n, 1.0)
    assert (ours[n:] == x[n:]).all()
    assert (aged[n:] == x[n:]).all()
    for at in range(n):
        assert logarithm(x[at : at + 1])[0] == pytest.approx(ours[at], rel=RELATIVE, abs=ABSOLUTE)
        assert power(x[at : at + 1], x[at : at + 1])[0] == pytest.approx(aged[at], rel=RELATIVE, abs=ABSOLUTE)
