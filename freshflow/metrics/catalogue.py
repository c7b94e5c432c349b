"""The table of all metrics: the counts and quality figures of a partition's report, and their names in Prometheus.

It feeds the JSON Schema of metrics records, the Prometheus endpoint and the generated tables of the documentation. To
add a metric, add a row here and count it. Counts cover the time since the partition began; a count of 0 may be missing.
"""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

from freshflow.config.schema import Config

MetricType = Literal["counter", "gauge", "histogram", "summary"]


def _always(_: Config) -> bool:
    return True


def _has_anonymous_users(config: Config) -> bool:
    return config.users.guests


def _has_exploration(config: Config) -> bool:
    return config.explore.share > 0


class Metric(NamedTuple):
    """A metric of a partition.

    Attributes:
        name: Key in `counts` or `quality` of a report; `*` stands for any word.
        type: "counter" for totals, "gauge" for current values.
        unit: Unit of the value.
        description: Meaning of the value.
        family: Name in Prometheus, where the label `partition` is added.
        label: In a family of several metrics, its label and the label's value.
        applies_to: Whether a configuration has the metric.
    """

    name: str
    type: Literal["counter", "gauge"]
    unit: str
    description: str
    family: str
    label: tuple[str, str] | None = None
    applies_to: Callable[[Config], bool] = _always


class Family(NamedTuple):
    """A Prometheus family with several metrics, or of the whole process."""

    name: str
    type: MetricType
    labels: tuple[str, ...]
    description: str


_LISTS, _FILTERED, _SIZE, _DROPPED = (
    "freshflow_lists_total",
    "freshflow_filtered_total",
    "freshflow_table_size",
    "freshflow_dropped_total",
)
_HIT_RATE, _MRR = "freshflow_hit_rate_at_20", "freshflow_mrr_at_20"

COUNT_METRICS = (
    Metric(
        "events",
        "counter",
        "interactions",
        "Interactions predicted, then learned.",
        "freshflow_training_examples_total",
    ),
    Metric(
        "remote_examples",
        "counter",
        "interactions",
        "Interactions of other partitions' users that trained the ranker (`ranker.broadcast_examples`).",
        "freshflow_remote_examples_total",
    ),
    Metric("updates", "counter", "updates", "Updates of the ranker.", "freshflow_ranker_updates_total"),
    Metric("lists", "counter", "lists", "Lists published after an interaction.", _LISTS, ("cause", "interaction")),
    Metric("answers", "counter", "lists", "Answers to requests and searches.", _LISTS, ("cause", "answer")),
    Metric("refreshed", "counter", "lists", "Lists published by a refresh.", _LISTS, ("cause", "refresh")),
    Metric(
        "withdrawn",
        "counter",
        "lists",
        "Lists published because an item became unavailable.",
        _LISTS,
        ("cause", "withdrawal"),
    ),
    Metric("related", "counter", "lists", "Lists of related items, empty ones included.", "freshflow_related_total"),
    Metric(
        "unchanged",
        "counter",
        "lists",
        "Lists not published again, because they did not change.",
        "freshflow_lists_unchanged_total",
    ),
    Metric("duplicate", "counter", "events", "Duplicates, dropped.", _FILTERED, ("kind", "duplicate")),
    Metric("ignored", "counter", "events", "Events of weight 0.", _FILTERED, ("kind", "ignored")),
    Metric(
        "late",
        "counter",
        "events",
        "Events older than `users.allowed_lateness_s`, dropped.",
        _FILTERED,
        ("kind", "late"),
    ),
    Metric(
        "noise_rate",
        "counter",
        "events",
        "Events of users with too many events at once (`noise.events`).",
        _FILTERED,
        ("kind", "noise_rate"),
    ),
    Metric(
        "noise_repeats",
        "counter",
        "events",
        "Events that repeat one item too often (`noise.repeats`).",
        _FILTERED,
        ("kind", "noise_repeats"),
    ),
    Metric(
        "noise_sequence",
        "counter",
        "events",
        "Events of sessions that are too long or implausible (`noise.session_events`, `noise.unseen`).",
        _FILTERED,
        ("kind", "noise_sequence"),
    ),
    Metric(
        "reordered",
        "counter",
        "events",
        "Out-of-order events, put in their place.",
        "freshflow_reordered_total",
    ),
    Metric("items", "gauge", "items", "Known items.", _SIZE, ("table", "items")),
    Metric(
        "items_evicted",
        "counter",
        "items",
        "Items dropped over capacity (`items.max`) or as idle.",
        _DROPPED,
        ("table", "items"),
    ),
    Metric(
        "items_idle", "counter", "items", "Items dropped as idle (`items.idle_s`).", _DROPPED, ("table", "items_idle")
    ),
    Metric(
        "embeddings_left_out",
        "counter",
        "embeddings",
        "Embeddings of another length than `content.dimensions`, ignored.",
        "freshflow_embeddings_left_out_total",
    ),
    Metric("users", "gauge", "users", "Known users.", _SIZE, ("table", "users")),
    Metric("guests", "gauge", "users", "Known anonymous users.", _SIZE, ("table", "guests")),
    Metric("users_active", "gauge", "users", "Users whose lists are refreshed.", _SIZE, ("table", "active_users")),
    Metric(
        "users_active_evicted",
        "counter",
        "users",
        "Users whose lists are no longer refreshed, over capacity (`refresh.users`).",
        _DROPPED,
        ("table", "active_users"),
    ),
    Metric(
        "refreshes_allowed",
        "gauge",
        "lists",
        "Refreshes allowed now, the tokens of the token bucket (`refresh.max_share`).",
        "freshflow_refreshes_allowed",
    ),
    Metric("searches", "counter", "lists", "Answers to searches.", "freshflow_searches_total"),
    Metric(
        "searches_reordered",
        "counter",
        "lists",
        "Answers to searches in another order than the engine's.",
        "freshflow_searches_reordered_total",
    ),
    Metric("search_choices", "counter", "interactions", "Chosen search results.", "freshflow_search_choices_total"),
    Metric(
        "users_evicted", "counter", "users", "Users dropped over capacity (`users.max`).", _DROPPED, ("table", "users")
    ),
    Metric(
        "users_idle", "counter", "users", "Users dropped as idle (`users.idle_s`).", _DROPPED, ("table", "users_idle")
    ),
    Metric(
        "guests_joined",
        "counter",
        "users",
        "Anonymous users whose history became a user's (`users.guests`).",
        "freshflow_guests_joined_total",
        applies_to=_has_anonymous_users,
    ),
    Metric("forgotten", "counter", "events", "Forget events carried out.", "freshflow_forgotten_total"),
    Metric("drifts", "counter", "drifts", "Drifts detected: sudden falls of the hit rate.", "freshflow_drifts_total"),
    Metric(
        "drift_adaptations",
        "counter",
        "drifts",
        "Severe drifts, after which co-visitation counts were down-weighted (`items.drift_decay`).",
        "freshflow_drift_adaptations_total",
    ),
    Metric(
        "explored",
        "counter",
        "items",
        "Positions given to young items (`explore.share`).",
        "freshflow_explored_total",
        applies_to=_has_exploration,
    ),
    Metric(
        "explored_taken",
        "counter",
        "items",
        "Explored items that the user interacted with next.",
        "freshflow_explored_taken_total",
        applies_to=_has_exploration,
    ),
    Metric(
        "rule_*",
        "counter",
        "items",
        "Items that a rule removed from lists; of pinned items, those that it brought in.",
        "freshflow_rule_removed_total",
        ("rule", "*"),
    ),
    Metric(
        "rule_*_moved",
        "counter",
        "items",
        "Items that a rule moved on lists.",
        "freshflow_rule_moved_total",
        ("rule", "*"),
    ),
)

QUALITY_METRICS = (
    Metric(
        "hr20",
        "gauge",
        "ratio",
        "Share of events with their item among the first 20 of the list made just before (HR@20).",
        _HIT_RATE,
    ),
    Metric("mrr20", "gauge", "ratio", "Mean of 1 / rank of that item, 0 beyond the 20th (MRR@20).", _MRR),
    Metric("recent_*", "gauge", "ratio", "The same over the last 5,000 events.", "", ("over", "recent")),
    Metric(
        "published_*", "gauge", "ratio", "The same of the list published last to the user.", "", ("of", "published")
    ),
    Metric(
        "popularity_*",
        "gauge",
        "ratio",
        "The same of the most popular items of the last 200 events.",
        "",
        ("of", "popularity"),
    ),
    Metric(
        "search_*", "gauge", "ratio", "The same of chosen search results, in the published order.", "", ("of", "search")
    ),
    Metric(
        "engine_*", "gauge", "ratio", "The same of chosen search results, in the engine's order.", "", ("of", "engine")
    ),
)

FAMILIES = (
    Family("freshflow_events_total", "counter", (), "Records read."),
    Family("freshflow_rejected_total", "counter", ("code",), "Rejected records, sent to the dead letters, by reason."),
    Family("freshflow_unknown_type_total", "counter", (), "Events of other formats with an unknown type, skipped."),
    Family("freshflow_published_total", "counter", (), "Records handed to the sink of lists, tombstones included."),
    Family(
        _LISTS,
        "counter",
        ("partition", "cause"),
        "Lists by cause: an interaction or an identify event, an answer to a request or search, a refresh, the "
        "withdrawal of an item.",
    ),
    Family(
        _FILTERED,
        "counter",
        ("partition", "kind"),
        "Events that teach nothing: dropped (duplicate, late, ignored for weight 0), or noise, which still gets lists.",
    ),
    Family(
        "freshflow_rule_removed_total",
        "counter",
        ("partition", "rule"),
        "Items removed from lists, by rule; of pinned items, those brought in.",
    ),
    Family("freshflow_rule_moved_total", "counter", ("partition", "rule"), "Items moved on lists, by rule."),
    Family(
        _SIZE,
        "gauge",
        ("partition", "table"),
        "Known users, items and anonymous users (guests), and active users, whose lists are refreshed.",
    ),
    Family(
        _DROPPED,
        "counter",
        ("partition", "table"),
        "Entries dropped over capacity or as idle (users_idle, items_idle; items includes idle items).",
    ),
    Family("freshflow_refresh_max_share", "gauge", (), "Setting refresh.max_share; 0 if refreshes are off."),
    Family(
        _HIT_RATE,
        "gauge",
        ("partition", "of", "over"),
        "HR@20 of our lists, of the lists published last and of popularity, over all events or the last 5,000; for "
        "chosen search results, of our order and the engine's.",
    ),
    Family(_MRR, "gauge", ("partition", "of", "over"), "MRR@20, likewise."),
    Family(
        "freshflow_read_to_published_seconds",
        "histogram",
        (),
        "Time from reading an event to handing its list to the sink.",
    ),
    Family(
        "freshflow_freshness_seconds",
        "histogram",
        (),
        "Age of events, by their own time, when their lists are made; live jobs only.",
    ),
    Family(
        "freshflow_input_lag_records",
        "gauge",
        ("input_partition",),
        "Records of a topic left to read at the last epoch.",
    ),
    Family(
        "freshflow_epoch_end_seconds", "summary", ("step",), "Ends of epochs by step: snapshots, and flushes of sinks."
    ),
    Family(
        "freshflow_snapshot_write_seconds", "summary", (), "Full snapshots written to --recovery in the background."
    ),
    Family("freshflow_build_info", "gauge", ("version", "python"), "1; the labels are versions."),
)


def find_metric(name: str, metrics: Sequence[Metric]) -> Metric | None:
    """Return the row of a count or figure, or None; of several patterns the longest counts.

    >>> find_metric("rule_blocked_moved", COUNT_METRICS).description, find_metric("nothing", COUNT_METRICS)
    ('Items that a rule moved on lists.', None)
    """
    matches = [metric for metric in metrics if fnmatchcase(name, metric.name)]
    return max(matches, key=lambda metric: len(metric.name), default=None)
