"""The configuration: what it takes from where, and how it says that something is not allowed."""

import io
import pickle
import tomllib
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from freshflow.config.loader import load_config
from freshflow.config.schema import DEFAULT_WEIGHTS, RESERVED_TYPES, TYPE_HINTS, Config, KafkaConfig, PrivacyConfig
from freshflow.config.sources import RETIRED_KEYS, RETIRED_SECTIONS
from freshflow.errors import ConfigError
from freshflow.events.model import CONTROL_TYPES

EXAMPLE = Path(__file__).parents[2] / "freshflow" / "docs" / "freshflow.example.toml"


@pytest.fixture
def toml(tmp_path: Path) -> Any:
    def write(text: str) -> Path:
        path = tmp_path / "shop.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def refusal(*arguments: Any, **named: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        load_config(*arguments, **named)
    return str(refused.value)


# The example file


def test_example_file_equals_the_defaults() -> None:
    assert load_config(EXAMPLE) == Config()


def test_example_file_mentions_every_key_and_every_weight() -> None:
    tables = tomllib.loads(EXAMPLE.read_text("utf-8"))
    assert {section: set(keys) for section, keys in tables.items()} == {
        section: set(keys) for section, keys in TYPE_HINTS.items()
    }
    assert tables["events"]["weights"] == DEFAULT_WEIGHTS


# Where settings come from


def test_nothing_given_means_the_defaults() -> None:
    assert load_config() == Config()
    assert load_config(None, {}, {}) == Config()


def test_environment_wins_over_the_file_and_the_command_line_over_both(toml: Any) -> None:
    path = toml("[lists]\nk = 5\n[items]\nneighbours = 2\n[users]\ncontext = 30\n")
    environment = {"FRESHFLOW_LISTS_K": "6", "FRESHFLOW_ITEMS_NEIGHBOURS": "3"}
    config = load_config(path, environment, {"lists": {"k": 7, "contributions": None}})
    assert (config.lists.k, config.items.neighbours, config.users.context) == (7, 3, 30)


def test_override_of_none_leaves_what_the_file_said(toml: Any) -> None:
    assert load_config(toml("[lists]\nk = 5"), None, {"lists": {"k": None}}).lists.k == 5


def test_weights_of_a_file_are_added_to_the_known_types(toml: Any) -> None:
    config = load_config(toml("[events.weights]\nlisten = 2\nview = 0.5\n"))
    assert config.events.weights == DEFAULT_WEIGHTS | {"listen": 2.0, "view": 0.5}


def test_overridden_options_are_added_to_those_of_the_file(toml: Any) -> None:
    path = toml('[kafka.options]\n"client.id" = "shop"\n')
    config = load_config(path, None, {"kafka": {"options": {"bootstrap.servers": "here:9092"}}})
    assert config.kafka.options == {"client.id": "shop", "bootstrap.servers": "here:9092"}


def test_empty_mapping_adds_nothing_and_removes_nothing(toml: Any) -> None:
    config = load_config(toml('[kafka.options]\n"client.id" = "shop"\n'), None, {"kafka": {"options": {}}})
    assert config.kafka.options == {"client.id": "shop"}


def test_dotted_kafka_options_need_no_quotes(toml: Any) -> None:
    config = load_config(toml('[kafka.options]\nsasl.password = "p"\n"sasl.username" = "u"\n'))
    assert config.kafka.options == {"sasl.password": "p", "sasl.username": "u"}


def test_environment_sets_kafka_options_by_dotted_name_and_as_text() -> None:
    environment = {
        "FRESHFLOW_KAFKA_OPTIONS_SASL_PASSWORD": "1e5",
        "FRESHFLOW_KAFKA_SOURCE_GROUP_ID": "true",
    }
    config = load_config(None, environment)
    assert config.kafka.options == {"sasl.password": "1e5"}
    assert config.kafka.source == {"group.id": "true"}


def test_environment_sets_a_weight_and_a_text() -> None:
    environment = {
        "FRESHFLOW_EVENTS_WEIGHTS_ADD_TO_LIST": "2",
        "FRESHFLOW_RANKER_MODEL": "shop.models:linear",
    }
    config = load_config(None, environment)
    assert config.events.weights["add_to_list"] == 2.0
    assert config.ranker.model == "shop.models:linear"


@pytest.mark.parametrize(
    "name", ["FRESHFLOW_TEST_KAFKA", "FRESHFLOW_INPUT", "FRESHFLOW_OUTPUT", "FRESHFLOW_CONFIG", "LISTS_K"]
)
def test_variables_that_name_no_section_are_ignored(name: str) -> None:
    assert load_config(None, {name: "anything"}) == Config()


def test_text_in_the_file_is_replaced_by_the_variable_it_names(toml: Any) -> None:
    path = toml('[kafka.options]\nsasl.password = "${PASSWORD}"\nclient.id = "a ${PASSWORD}"\n')
    config = load_config(path, {"PASSWORD": "${HOME}"})
    assert config.kafka.options == {"sasl.password": "${HOME}", "client.id": "a ${PASSWORD}"}


def test_byte_order_mark_is_no_part_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bom.toml"
    path.write_bytes(b"\xef\xbb\xbf[lists]\nk = 5\n")
    assert load_config(path).lists.k == 5


# What is refused, and in which words


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("lists.k = 0", "lists.k = 0 is not allowed: expected a whole number from 1 to 200."),
        ("lists.k = true", "lists.k = true is not allowed: expected a whole number from 1 to 200."),
        ("lists.k = 99999999999999999999", "lists.k = 99999999999999999999 is not allowed"),
        ("lists.k.most = 3", "lists.k.most is not allowed: lists.k is not a table but a whole number"),
        ("lists.k = {}", "lists.k = {} is not allowed: expected a whole number from 1 to 200."),
        ("lists.contributions = 1", "lists.contributions = 1 is not allowed: expected true or false."),
        ("users.max = 0", "users.max = 0 is not allowed: expected a whole number of at least 1."),
        ("job.epoch_s = 0", "job.epoch_s = 0 is not allowed: expected a number above 0."),
        ("job.epoch_s = inf", "job.epoch_s = inf is not allowed: expected a number above 0."),
        ("job.epoch_s = nan", "job.epoch_s = nan is not allowed: expected a number above 0."),
        ("events.weights.view = 'x'", "events.weights.view = 'x' is not allowed: expected a number."),
        ("events.weights.view = nan", "events.weights.view = nan is not allowed: expected a number."),
        ("events.weights.view = -inf", "events.weights.view = -inf is not allowed: expected a number."),
        (
            "events.weights = 3",
            "events.weights = 3 is not allowed: expected a table whose values are a number",
        ),
        (
            "events.weights.item = 1",
            "events.weights.item = 1 is not allowed: expected the type of an interaction;",
        ),
        ("kafka.start = 'end'", "kafka.start = 'end' is not allowed: expected one of earliest, latest."),
        ("ranker.model = 'adam'", "ranker.model = 'adam' is not allowed: expected package.module:function."),
        ("ranker.model = 'a.b:c d'", "ranker.model = 'a.b:c d' is not allowed"),
        (
            "items.context = 21",
            "items.context = 21 is not allowed: expected at most users.context, which is 20.",
        ),
        (
            "users.context = 9",
            "items.context = 10 is not allowed: expected at most users.context, which is 9.",
        ),
        ("users.history = 19", "users.context = 20 is not allowed: expected at most users.history"),
        ("lists.length = 3", "lists.length is not a known key; known are k, contributions."),
        ("list.k = 3", "[list] is not a known section; did you mean lists."),
        ("lists.foo = {}", "lists.foo is not a known key"),
        ("lists = 3", "lists must be a table, written [lists]."),
        ("k = 3", "[k] is not a known section"),
    ],
)
def test_refusal_names_the_file_the_key_the_value_and_what_is_allowed(toml: Any, text: str, sentence: str) -> None:
    path = toml(text)
    assert refusal(path).startswith(f"{path}: {sentence}")


RETIRED = [
    ("users.lateness_s = 60", "users.lateness_s", "users.allowed_lateness_s"),
    ("events.jump_s = 60", "events.jump_s", "events.max_clock_skew_s"),
    ("events.future_s = 60", "events.future_s", "events.max_future_s"),
    ("events.full.cart = 60", "events.full", "events.full_value"),
    ("items.kept_on_drift = 0.5", "items.kept_on_drift", "items.drift_decay"),
    ("ranker.units = 8", "ranker.units", "ranker.hidden_units"),
    ("ranker.shared = 8", "ranker.shared", "ranker.broadcast_examples"),
    ("search.queries = 8", "search.queries", "search.max_queries"),
    ("search.add = 8", "search.add", "search.max_added_items"),
    ("explore.within_s = 8", "explore.within_s", "explore.attribution_window_s"),
    ("metrics.every_events = 8", "metrics.every_events", "metrics.report_every_events"),
    ("related.per_100_events = 8", "related.per_100_events", "related.max_updates_per_100_events"),
    ("serve.away_s = 8", "serve.away_s", "serve.resync_after_s"),
    ("values.click = 8", "[values]", "[business_value]"),
]


@pytest.mark.parametrize(("text", "old", "new"), RETIRED)
def test_refusal_of_a_retired_name_in_the_file_says_the_new_one(toml: Any, text: str, old: str, new: str) -> None:
    path = toml(text)
    assert refusal(path) == f"{path}: {old} is now called {new}; rename it."


@pytest.mark.parametrize(("text", "old", "new"), RETIRED)
def test_refusal_of_a_retired_name_in_a_variable_says_the_new_one(text: str, old: str, new: str) -> None:
    key, value = text.split(" = ")
    name = f"FRESHFLOW_{key.replace('.', '_').upper()}"
    assert refusal(None, {name: value}) == f"environment variable {name}: {old} is now called {new}; rename it."


def test_every_retired_name_is_gone_and_its_new_one_known() -> None:
    assert len(RETIRED) == len(RETIRED_KEYS) + len(RETIRED_SECTIONS)
    for (section, old), new in RETIRED_KEYS.items():
        assert old not in TYPE_HINTS[section] and new in TYPE_HINTS[section]
    for old, new in RETIRED_SECTIONS.items():
        assert old not in TYPE_HINTS and new in TYPE_HINTS


def test_refusal_of_a_variable_names_it() -> None:
    said = refusal(None, {"FRESHFLOW_LISTS_K": "many"})
    assert said.startswith("environment variable FRESHFLOW_LISTS_K: lists.k = 'many' is not allowed")


def test_refusal_of_an_option_names_the_command_line() -> None:
    assert refusal(None, None, {"lists": {"k": 0}}).startswith("the command line: lists.k = 0 is not allowed")


def test_variable_of_a_section_without_such_a_key_is_refused() -> None:
    assert "FRESHFLOW_LISTS_LENGTH names no key" in refusal(None, {"FRESHFLOW_LISTS_LENGTH": "3"})


def test_variable_of_several_lines_is_one_value() -> None:
    assert "lists.k = '3\\nseed = 1'" in refusal(None, {"FRESHFLOW_LISTS_K": "3\nseed = 1"})


def test_variable_that_is_not_set_is_named_with_the_key_that_asks_for_it(toml: Any) -> None:
    path = toml('[kafka.options]\nsasl.password = "${NOT_SET}"\n')
    said = refusal(path, {})
    assert said == (
        f"{path}: kafka.options.sasl.password asks for the environment variable NOT_SET, which is not set; set it."
    )


@pytest.mark.parametrize(("raw", "words"), [(b"lists = [", "not valid TOML"), (b"k = '\xff'", "not valid TOML")])
def test_broken_file_is_named(tmp_path: Path, raw: bytes, words: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(raw)
    assert str(path) in refusal(path) and words in refusal(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = " + "[" * 5000, "is nested too deeply"),
        ("x = " + "{a = " * 5000, "is nested too deeply"),
        ("[lists" + ".a" * 5000 + "]\nb = 1", "lists.a is not a known key"),
        ("[lists]\nk = " + "9" * 5000, "has a number of too many digits"),
        ("[lists]\nk = 0x" + "f" * 50_000, "lists.k = a value of too many digits or levels is not allowed"),
        ("[job]\nepoch_s = 0x1" + "0" * 40, "job.epoch_s = 1461501637330902918203684832716283019655932542976 is not"),
        ("[lists]\nk = [{" + "a." * 5000 + "a = 1}]", "lists.k = a value of too many digits or levels is not allowed"),
    ],
    ids=lambda value: value[:20],
)
def test_what_is_too_deep_or_too_long_is_refused_with_a_sentence(toml: Any, text: str, words: str) -> None:
    assert words in refusal(toml(text))


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 5000, "{" + "a." * 5000 + "a=1}", "\udcff"], ids=lambda v: v[:9])
@pytest.mark.parametrize("name", ["FRESHFLOW_LISTS_K", "FRESHFLOW_KAFKA_START", "FRESHFLOW_RANKER_MODEL"])
def test_hostile_variables_are_refused_by_name(name: str, value: str) -> None:
    assert refusal(None, {name: value}).startswith(f"environment variable {name}: ")


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "none.toml")
    assert "cannot be read" in refusal(tmp_path)


def test_reserved_types_are_the_control_events() -> None:
    assert RESERVED_TYPES == CONTROL_TYPES


# Secrets


@pytest.mark.parametrize(
    "text",
    [
        "kafka.options.sasl.password = ['hunter2']",
        "kafka.options.other = [{password = 'hunter2'}]",
        "kafka.options = 'hunter2'",
        "kafka.sink = ['hunter2']",
        "kafka = 'hunter2'",
        "kafka.password = 'hunter2'",
    ],
)
def test_no_error_shows_a_secret(toml: Any, text: str) -> None:
    assert "hunter2" not in refusal(toml(text))


@pytest.mark.parametrize(
    "entry",
    [
        "sasl.password",
        "ssl.key.pem",
        "sasl.oauthbearer.client.secret",
        "sasl.jaas.config",
        "SASL.PASSWORD",
        "token",
    ],
)
def test_no_repr_shows_a_secret(entry: str) -> None:
    kafka = KafkaConfig(options={entry: "hunter2", "client.id": "shop"}, sink={entry: "hunter2"})
    config = Config(kafka=kafka)
    console = Console(file=io.StringIO(), width=400)
    console.print(config)
    for said in (repr(config), str(config), f"{config}", console.file.getvalue()):  # type: ignore[attr-defined]
        assert "hunter2" not in said
        assert "shop" in said


# What a configuration is


def test_configuration_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Config().lists.k = 3  # type: ignore[misc]


def test_configuration_crosses_process_borders() -> None:
    config = load_config(None, {"FRESHFLOW_LISTS_K": "3"})
    assert pickle.loads(pickle.dumps(config)) == config


# Pseudonyms and their key

KEY = "0123456789abcdef0123456789abcdef"
DIGITS = "12345678901234567890123456789012"


def test_the_key_comes_from_the_environment_as_it_stands() -> None:
    environment = {"FRESHFLOW_PRIVACY_KEY": DIGITS, "FRESHFLOW_PRIVACY_PSEUDONYMISE": "true"}
    assert load_config(None, environment).privacy == PrivacyConfig(pseudonymise=True, key=DIGITS)


def test_the_key_can_come_from_a_variable_that_the_file_names(toml: Any) -> None:
    path = toml('[privacy]\npseudonymise = true\nkey = "${SHOP_KEY}"\n')
    assert load_config(path, {"SHOP_KEY": KEY}).privacy.key == KEY
    assert "SHOP_KEY" in refusal(path, {})


@pytest.mark.parametrize(("key", "said"), [(None, "is missing"), ("", "is missing"), (KEY[1:], "has 31 characters")])
def test_a_missing_or_short_key_is_refused_with_what_to_do_and_is_not_shown(
    key: str | None, said: str, toml: Any
) -> None:
    environment = {} if key is None else {"FRESHFLOW_PRIVACY_KEY": key}
    path = toml("[privacy]\npseudonymise = true\n")
    assert refusal(path, environment) == (
        f"{path}: privacy.pseudonymise needs a privacy.key of at least 32 characters, which {said}; "
        "set the environment variable FRESHFLOW_PRIVACY_KEY, e.g. to the output of `openssl rand -hex 32`."
    )


def test_a_short_key_does_no_harm_while_nothing_is_pseudonymised() -> None:
    assert load_config(None, {"FRESHFLOW_PRIVACY_KEY": "short"}).privacy.key == "short"


def test_the_key_is_shown_nowhere(toml: Any) -> None:
    config = Config(privacy=PrivacyConfig(pseudonymise=True, key=KEY))
    file = io.StringIO()
    Console(file=file).print(config)
    for shown in (repr(config), str(config.privacy), f"{config.privacy}", file.getvalue()):
        assert KEY not in shown
        assert "***" in shown
    assert DIGITS not in refusal(toml(f"[privacy]\nkey = {DIGITS}\n"))
    assert DIGITS not in refusal(toml(f"[privacy.key]\nk = {DIGITS}\n"))
