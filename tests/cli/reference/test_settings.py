"""The reference of settings: what the example file says is allowed is what is allowed."""

from typing import Annotated, Any, Literal, get_args, get_origin

import pytest

from freshflow.cli.reference.settings import sections
from freshflow.config.validation import is_mapping

SETTINGS = [setting for section in sections() for setting in section.settings]


def spelled(hint: Any) -> str:
    """How the example file says what a type allows."""
    if get_origin(hint) is Literal:
        *others, last = (f'"{value}"' for value in get_args(hint))
        return f"{', '.join(others)} or {last}"
    if get_origin(hint) is Annotated:
        of, meta = get_args(hint)
        if of is str:
            return "text"
        low = f"above {meta.gt}" if meta.gt is not None else f"{meta.ge}"
        if meta.le is not None or meta.lt is not None:
            return f"{low} to {meta.le}" if meta.le is not None else f"{low} to below {meta.lt}"
        if meta.gt is not None:
            return low
        return "0 or more" if meta.ge == 0 else f"at least {meta.ge}"
    return {bool: "true or false"}.get(hint, "")


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_what_the_example_file_allows_is_what_the_type_allows(setting):
    if not is_mapping(setting.hint):
        assert setting.allowed_values.startswith(spelled(setting.hint))
    assert setting.allowed_values


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_meaning_is_a_sentence_without_what_is_allowed(setting):
    assert setting.description[0].isupper() and setting.description[-1] in ".:)", setting.description
    assert setting.allowed_values not in setting.description or setting.allowed_values == "text"
