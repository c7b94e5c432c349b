"""librdkafka's errors as sentences to raise, and outages as one line in the log."""

import logging
import time
from collections.abc import Callable

from confluent_kafka import KafkaError

from freshflow.errors import BrokerError

LOG = logging.getLogger("freshflow.kafka")


def unreachable_error(bootstrap: str, timeout_s: float, errors: list[KafkaError]) -> BrokerError:
    """Explain why no broker answered.

    Args:
        bootstrap: The bootstrap servers.
        timeout_s: How long they were asked, in seconds.
        errors: The errors that librdkafka reported meanwhile, at least one.

    Returns:
        The error to raise, with the most specific cause.
    """
    for error in reversed(errors):
        if error.code() in (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED):
            return BrokerError(
                f"Kafka at {bootstrap} refuses the login ({error_reason(error)}); check sasl.* in [kafka]."
            )
        if error.code() == KafkaError._SSL:
            return BrokerError(
                f"Kafka at {bootstrap} does not accept TLS ({error_reason(error)}); "
                "check security.protocol and ssl.* in [kafka]."
            )
    root_error = next((e for e in reversed(errors) if e.code() != KafkaError._ALL_BROKERS_DOWN), errors[0])
    return BrokerError(
        f"No Kafka broker answered at {bootstrap} within {timeout_s:g} s ({error_reason(root_error)}); "
        "check that it runs, its address and port, and security.protocol in [kafka]."
    )


def error_reason(error: KafkaError) -> str:
    """Return librdkafka's message without its timings, as part of a sentence."""
    if error.code() == KafkaError._ALL_BROKERS_DOWN:  # librdkafka's count is at times of 0 brokers down
        return "no broker answers"
    return str(error.str()).partition(" (after ")[0].rstrip(". ")


def read_on_error(subject: str, error: KafkaError) -> BrokerError:
    """Explain why a topic or partition cannot be read any further."""
    return BrokerError(
        f"Kafka does not let us read {subject} on: {error_reason(error)}; check the topic, the rights of this user, "
        "and [kafka]."
    )


class Outage:
    """State of a client's outage: logged once when it begins, however often librdkafka retries, and once when it ends.

    An error that does not end by waiting is kept in `failure` for the owner to raise; the methods are callbacks of
    librdkafka, where raising would be too early.
    """

    # Errors that end when a broker restarts or the network returns. Logins and TLS are among them: both fail at times
    # while a broker starts, and a login that was never valid is refused by the first request to the cluster.
    RETRIABLE_CODES = frozenset(
        {
            KafkaError._ALL_BROKERS_DOWN,
            KafkaError._AUTHENTICATION,
            KafkaError._MSG_TIMED_OUT,
            KafkaError._RESOLVE,
            KafkaError._SSL,
            KafkaError._TIMED_OUT,
            KafkaError._TIMED_OUT_QUEUE,
            KafkaError._TRANSPORT,
            KafkaError._WAIT_COORD,
            KafkaError.BROKER_NOT_AVAILABLE,
            KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
            KafkaError.COORDINATOR_NOT_AVAILABLE,
            KafkaError.KAFKA_STORAGE_ERROR,
            KafkaError.LEADER_NOT_AVAILABLE,
            KafkaError.NETWORK_EXCEPTION,
            KafkaError.NOT_COORDINATOR,
            KafkaError.NOT_LEADER_FOR_PARTITION,
            KafkaError.OFFSET_NOT_AVAILABLE,
            KafkaError.REPLICA_NOT_AVAILABLE,
            KafkaError.REQUEST_TIMED_OUT,
        }
    )

    # An idle partition does not show that the brokers are back, but librdkafka then has no errors to report. During an
    # outage it has one at least every 70 s (a request takes 60 s to fail, the next connection is tried within 10 s).
    RECOVERY_SILENCE_S = 120.0

    def __init__(self, subject: str, now_s: Callable[[], float] = time.monotonic) -> None:
        self._subject = subject
        self._now_s = now_s
        self._last_error_s: float | None = None  # of the outage that goes on
        self.failure: KafkaError | None = None

    def record_error(self, error: KafkaError) -> None:
        """Log an error that begins an outage; keep one that does not end by waiting."""
        if error.fatal() or error.code() not in self.RETRIABLE_CODES:
            self.failure = self.failure or error
            return
        now_s = self._now_s()
        if self._last_error_s is None or now_s - self._last_error_s > self.RECOVERY_SILENCE_S:
            LOG.warning("%s: %s; waiting for it to come back.", self._subject, error_reason(error))
        self._last_error_s = now_s

    def record_recovery(self) -> None:
        """End the outage, as the brokers answered."""
        if self._last_error_s is not None:
            self._last_error_s = None
            LOG.warning("%s: answers again.", self._subject)
