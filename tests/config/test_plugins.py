"""Modules of `plugins.modules`: imported before the configuration is checked, with settings of their own."""

import sys
from pathlib import Path
from typing import Any

import pytest

from freshflow.config import registry as config_registry
from freshflow.config.loader import load_config
from freshflow.errors import ConfigError
from freshflow.rules import registry as rule_registry
from freshflow.rules.registry import RuleInputs, has_rules, registered_rules

PLUGIN = """
from typing import Annotated
from msgspec import Meta
from freshflow.config.schema import Section
from freshflow.rules.registry import Rule, register_rule

class CapSettings(Section, frozen=True):
    limit: Annotated[float, Meta(gt=0, description="Limit.")] = 100.0

@register_rule("cap", order=16, settings=CapSettings)
class CapRule(Rule):
    pass
"""
MODULES = '[plugins]\nmodules = ["shop_plugin"]\n'


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that writes the plugin and a configuration, and loads it; registrations are undone."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(config_registry, "_rule_settings", {})
    monkeypatch.setattr(rule_registry, "_specs", dict(rule_registry._specs))
    monkeypatch.delitem(sys.modules, "shop_plugin", raising=False)

    def load_text(text: str, plugin: str = PLUGIN, environment: dict[str, str] | None = None) -> Any:
        (tmp_path / "shop_plugin.py").write_text(plugin)
        (tmp_path / "shop.toml").write_text(text)
        return load_config(tmp_path / "shop.toml", environment or {})

    yield load_text
    sys.modules.pop("shop_plugin", None)


def test_registered_rule_has_its_settings_and_is_on_with_its_table(load):
    config = load(f"{MODULES}[rules.cap]\nlimit = 20\n")
    assert config.rules.extensions == {"cap": {"limit": 20}}
    assert has_rules(config)
    (spec,) = [spec for spec in registered_rules() if spec.is_on(config)]
    assert spec.build(RuleInputs(config, *[None] * 4)).settings.limit == 20  # type: ignore[arg-type]


def test_empty_table_switches_the_rule_on_with_its_defaults(load):
    config = load(f"{MODULES}[rules.cap]\n")
    assert config.rules.extensions == {"cap": {}} and has_rules(config)


def test_registered_rule_without_a_table_is_off(load):
    assert not has_rules(load(MODULES))


def test_environment_names_plugins_and_their_settings(load):
    environment = {"FRESHFLOW_PLUGINS_MODULES": '["shop_plugin"]', "FRESHFLOW_RULES_CAP_LIMIT": "7"}
    assert load("", environment=environment).rules.extensions == {"cap": {"limit": 7}}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[rules.cap]\nlimit = 0\n", "rules.cap.limit = 0 is not allowed: expected a number above 0."),
        ("[rules.cap]\nlimt = 1\n", "rules.cap.limt is not a known key; did you mean limit."),
        ("[rules]\ncap = 3\n", "rules.cap must be a table, written [rules.cap]."),
        ("[rules.cup]\nlimit = 1\n", "rules.cup is not a known key; did you mean cap."),
        ("[rules.extensions]\n", "rules.extensions is not a known key"),
    ],
)
def test_settings_of_a_registered_rule_are_checked(load, text, sentence):
    with pytest.raises(ConfigError) as refused:
        load(MODULES + text)
    assert f"shop.toml: {sentence}" in str(refused.value)


@pytest.mark.parametrize(
    ("plugin", "reason"),
    [
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def broken(:", "SyntaxError: invalid syntax"),
    ],
)
def test_import_that_fails_is_one_sentence_with_module_and_reason(load, plugin, reason):
    with pytest.raises(ConfigError) as refused:
        load(MODULES, plugin)
    sentence = str(refused.value)
    assert f"plugins.modules: the module 'shop_plugin' cannot be imported ({reason}" in sentence
    assert "\n" not in sentence


def test_taken_rule_name_is_rejected(load):
    with pytest.raises(ConfigError, match="there is another rule named 'boost'"):
        load(MODULES, PLUGIN.replace('"cap"', '"boost"'))
