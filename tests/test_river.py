"""River without SciPy: what is imported in name only, and what becomes of it when it is used."""

import subprocess
import sys
from fractions import Fraction

import pytest

from freshflow.river import imported_later, proba


def test_a_job_needs_no_scipy() -> None:
    told = "import sys, freshflow.dataflow.job; print([name for name in sys.modules if name.startswith('scipy.stats')])"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_what_river_has_of_scipy_is_there_when_it_is_used() -> None:
    bells = proba.MultivariateGaussian()
    for n in range(5):
        bells.update({"a": n, "b": n * n})
    assert 0 < bells({"a": 2, "b": 4}) < 1
    assert proba.Beta(2, 2).cdf(0.5) == pytest.approx(0.5)


def test_a_name_of_a_module_that_is_imported_later_is_what_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "fractions")
    with imported_later("fractions"):
        import fractions
        from fractions import Fraction as Later
    assert "fractions" not in sys.modules
    assert Later(1, 2) == Fraction(1, 2)
    assert fractions.Fraction.from_float(0.5) == Fraction(1, 2)
    assert not hasattr(fractions, "__wrapped__")


def test_a_module_that_is_there_stays_what_it_is() -> None:
    there = sys.modules["fractions"]
    with imported_later("fractions"):
        assert sys.modules["fractions"] is there
    assert sys.modules["fractions"] is there


def test_modules_are_imported_again_when_the_block_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "fractions")
    with pytest.raises(ZeroDivisionError), imported_later("fractions"):
        _ = 1 / 0
    assert "fractions" not in sys.modules
