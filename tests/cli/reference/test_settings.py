"""The reference of settings: allowed values follow from types, and every setting has a description."""

from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta

from freshflow.cli.reference.settings import _allowed_values, sections
from freshflow.config.section import PositiveNumber

SETTINGS = [setting for section in sections() for setting in section.settings]


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (Annotated[int, Meta(ge=1, le=200)], "1 to 200"),
        (Annotated[int, Meta(ge=0)], "0 or more"),
        (Annotated[int, Meta(ge=100)], "at least 100"),
        (PositiveNumber, "above 0"),
        (Annotated[float, Meta(gt=0, le=1)], "above 0 to 1"),
        (Annotated[float, Meta(ge=0, lt=1)], "0 to below 1"),
        (Annotated[bool, Meta(description="d")], "true or false"),
        (Annotated[str, Meta(min_length=1)], "text"),
        (Literal["a", "b", "c"], '"a", "b" or "c"'),
        (tuple[str, ...], "a list of texts"),
        (Annotated[dict[str, PositiveNumber], Meta(description="d")], "above 0"),
        (dict[str, str | int | float | bool], "text, numbers, true or false"),
    ],
)
def test_allowed_values_follow_from_the_type(hint: Any, text: str) -> None:
    assert _allowed_values(hint) == text


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_description_is_a_sentence_without_allowed_values(setting):
    assert setting.description[0].isupper() and setting.description[-1] in ".:)", setting.description
    assert setting.allowed_values not in setting.description or setting.allowed_values == "text"
