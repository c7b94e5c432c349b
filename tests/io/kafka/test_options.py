"""The pure parts of the Kafka connectors: addresses, options, secrets, librdkafka's errors."""

import logging

import pytest
from confluent_kafka import Consumer, KafkaError, Producer

from freshflow.config.schema import KafkaConfig
from freshflow.errors import ConfigError
from freshflow.io.kafka.client import (
    Side,
    client_options,
    create_client,
    parse_kafka_servers,
    parse_kafka_url,
    redact,
)
from freshflow.io.kafka.errors import Outage, unreachable_error

SIDES: list[Side] = ["source", "sink", "admin"]


@pytest.mark.parametrize(
    ("url", "parsed"),
    [
        ("kafka://localhost:9092/events", ("localhost:9092", "events")),
        ("kafka://a:9092,b.example:9093/shop.events_2", ("a:9092,b.example:9093", "shop.events_2")),
        ("kafka://[::1]:9092/events", ("[::1]:9092", "events")),
    ],
)
def test_a_url_is_split_into_servers_and_topic(url: str, parsed: tuple[str, str]) -> None:
    assert parse_kafka_url(url) == parsed


@pytest.mark.parametrize(
    "url",
    [
        "",
        "events",
        "kafka://localhost/events",
        "kafka://localhost:9092",
        "kafka://localhost:9092/",
        "kafka://localhost:9092/a/b",
        "kafka://localhost:9092/an event",
        "kafka://localhost:9092/..",
        "kafka://localhost:99999/events",
        "kafka://a:9092,/events",
        "http://localhost:9092/events",
        "kafka://localhost:9092/events\n",
        "kafka://localhost:９０９２/events",
    ],
)
def test_a_malformed_url_is_refused_with_the_form_it_should_have(url: str) -> None:
    with pytest.raises(ConfigError, match=r"is not the address of a topic; write kafka://host:port/topic\.$"):
        parse_kafka_url(url)


def test_a_login_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_kafka_url("kafka://shop:hunter2@localhost:9092/events")
    assert str(caught.value).startswith("kafka://[hidden]@localhost:9092/events is not the address of a topic")


def test_servers_are_taken_with_and_without_a_slash() -> None:
    assert parse_kafka_servers("kafka://a:1,b:2") == parse_kafka_servers("kafka://a:1,b:2/") == "a:1,b:2"
    with pytest.raises(ConfigError, match="is not the address of a cluster"):
        parse_kafka_servers("kafka://a:1/events")


def test_secrets_are_hidden_and_the_rest_is_shown() -> None:
    options = {
        "sasl.password": "hunter2",
        "sasl.username": "shop",
        "ssl.key.pem": "hunter2",
        "ssl.keystore.password": "hunter2",
        "sasl.oauthbearer.client.secret": "hunter2",
        "sasl.oauthbearer.config": "hunter2",
        "SASL.JAAS.config": "hunter2",
        "linger.ms": 5,
    }
    shown = redact(options)
    assert "hunter2" not in repr(shown)
    assert shown["sasl.username"] == "shop"
    assert shown["linger.ms"] == 5
    assert options["sasl.password"] == "hunter2"


def test_options_of_a_side_win_over_the_common_ones_and_both_over_the_defaults() -> None:
    config = KafkaConfig(options={"client.id": "shop", "linger.ms": 1}, sink={"linger.ms": 50})
    sink = client_options("a:1", config, "sink")
    assert (sink["client.id"], sink["linger.ms"], sink["acks"]) == ("shop", 50, "all")
    source = client_options("a:1", config, "source")
    assert (source["linger.ms"], source["auto.offset.reset"], source["enable.auto.commit"]) == (
        1,
        "error",
        False,
    )


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    "key",
    [
        "enable.auto.commit",
        "auto.offset.reset",
        "enable.partition.eof",
        "bootstrap.servers",
        "transactional.id",
    ],
)
def test_an_option_that_would_break_the_promise_is_refused_on_every_side(side: Side, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^kafka\.options '{key}' cannot be set: .*; remove it\.$"):
        client_options("a:1", KafkaConfig(options={key: "x"}), side)


def test_an_option_is_refused_in_the_section_where_it_stands() -> None:
    with pytest.raises(ConfigError, match=r"^kafka\.source 'auto\.offset\.reset' cannot be set"):
        client_options("a:1", KafkaConfig(source={"auto.offset.reset": "latest"}), "source")


@pytest.mark.parametrize("kind", [Consumer, Producer])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"linger.msec": 5}, 'No such configuration property: "linger.msec"'),
        ({"security.protocol": "tls"}, 'Invalid value "tls" for configuration property "security.protocol"'),
        ({"stats_cb": "print"}, "stats_cb"),
    ],
)
def test_an_option_the_client_does_not_know_is_named(kind: type, options: dict[str, str | int], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        create_client(kind, {"group.id": "g", "log_level": 0, **options})
    assert said in str(caught.value)


def test_a_secret_is_in_no_message_of_the_client() -> None:
    options = {"group.id": "g", "log_level": 0, "sasl.oauthbearer.method": "hunter2"}
    with pytest.raises(ConfigError, match=r'"sasl\.oauthbearer\.method"') as caught:
        create_client(Consumer, options)
    assert "hunter2" not in str(caught.value)


def test_a_refused_login_is_told_as_such() -> None:
    refused = KafkaError(
        KafkaError._AUTHENTICATION, "SASL authentication error: no such user (after 3ms in state AUTH)"
    )
    error = unreachable_error("a:1", 5.0, [KafkaError(KafkaError._TRANSPORT, "no metadata"), refused])
    assert str(error) == (
        "Kafka at a:1 refuses the login (SASL authentication error: no such user); check sasl.* in [kafka]."
    )


def test_an_outage_is_logged_once_until_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage("Kafka at a:1")
    with caplog.at_level(logging.WARNING, "freshflow.kafka"):
        for _ in range(2):
            for code in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE):
                outage.record_error(KafkaError(code, "connection refused"))
            outage.record_recovery()
            outage.record_recovery()
    begun = "Kafka at a:1: connection refused; waiting for it to come back."
    assert caplog.messages == [begun, "Kafka at a:1: answers again."] * 2
    assert outage.failure is None


def test_all_brokers_down_is_told_without_their_count(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "freshflow.kafka"):
        Outage("Kafka at a:1").record_error(KafkaError(KafkaError._ALL_BROKERS_DOWN, "0/2 brokers are down"))
    assert caplog.messages == ["Kafka at a:1: no broker answers; waiting for it to come back."]


def test_an_outage_after_a_long_silence_is_a_new_one(caplog: pytest.LogCaptureFixture) -> None:
    now_s = iter([0.0, 100.0, 221.0])
    outage = Outage("Kafka at a:1", now_s.__next__)
    with caplog.at_level(logging.WARNING, "freshflow.kafka"):
        for _ in range(3):
            outage.record_error(KafkaError(KafkaError._TRANSPORT, "connection refused"))
    assert len(caplog.messages) == 2


def test_an_error_that_waiting_does_not_cure_is_kept() -> None:
    outage = Outage("Kafka at a:1")
    outage.record_error(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    outage.record_error(KafkaError(KafkaError._BAD_MSG))
    assert outage.failure is not None
    assert outage.failure.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
