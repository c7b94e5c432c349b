"""Modules that are imported when something of them is used."""

import sys

import pytest

from freshflow._lazy_import import lazy_imports


def test_a_name_of_a_module_that_is_imported_later_is_what_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "fractions", raising=False)
    with lazy_imports("fractions"):
        import fractions
        from fractions import Fraction as Later
    assert "fractions" not in sys.modules
    assert Later(1, 2) + 1 == Later(3, 2)
    assert "fractions" in sys.modules
    assert fractions.Fraction.from_float(0.5) == Later(1, 2)
    assert not hasattr(fractions, "__wrapped__")


def test_a_module_that_is_there_stays_what_it_is() -> None:
    import fractions as there

    with lazy_imports("fractions"):
        assert sys.modules["fractions"] is there
    assert sys.modules["fractions"] is there


def test_modules_are_imported_again_when_the_block_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "fractions", raising=False)
    with pytest.raises(ZeroDivisionError), lazy_imports("fractions"):
        _ = 1 / 0
    assert "fractions" not in sys.modules
