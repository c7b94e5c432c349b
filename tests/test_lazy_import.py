"""Imports that are put off until a name is used."""

import sys

import pytest

from freshflow._lazy_import import lazy_imports


def test_lazy_name_resolves_at_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "fractions", raising=False)
    with lazy_imports("fractions"):
        import fractions
        from fractions import Fraction as Later
    assert "fractions" not in sys.modules
    assert Later(1, 2) + 1 == Later(3, 2)
    assert "fractions" in sys.modules
    assert fractions.Fraction.from_float(0.5) == Later(1, 2)
    assert not hasattr(fractions, "__wrapped__")


def test_imported_module_is_not_replaced() -> None:
    import fractions as imported

    with lazy_imports("fractions"):
        assert sys.modules["fractions"] is imported
    assert sys.modules["fractions"] is imported


def test_error_in_block_removes_the_placeholders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "fractions", raising=False)
    with pytest.raises(ZeroDivisionError), lazy_imports("fractions"):
        _ = 1 / 0
    assert "fractions" not in sys.modules
