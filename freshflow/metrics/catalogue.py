"""What the numbers in a partition's report say, by name; a `*` stands for a word.

A count is of events or records since the partition began, unless it says otherwise; one that is 0 may be missing.
"""

from fnmatch import fnmatchcase

__all__ = ["COUNTER_DESCRIPTIONS", "QUALITY_DESCRIPTIONS", "describe_metric"]

COUNTER_DESCRIPTIONS = {
    "events": "interactions that were predicted, then learned",
    "lessons": "interactions of other partitions' users that taught the ranker (`ranker.broadcast_examples`)",
    "updates": "updates of the ranker",
    "lists": "lists published because of an interaction",
    "answers": "answers to requests and searches",
    "refreshed": "lists published because the world had changed",
    "withdrawn": "lists published because an item is not available any more",
    "related": "lists of related items published",
    "unchanged": "lists not published again, as they did not change",
    "duplicate": "events dropped as duplicates",
    "ignored": "events of weight 0",
    "late": "events dropped as older than `users.allowed_lateness_s` allows",
    "reordered": "events out of order, put where they belong",
    "noise_rate": "events of users who did too much at once (`noise.events`)",
    "noise_repeats": "events that repeat one item too often (`noise.repeats`)",
    "noise_sequence": "events of sessions too long or too implausible (`noise.session_events`, `noise.unseen`)",
    "items": "items known now",
    "items_evicted": "items dropped, for want of room or as idle",
    "items_idle": "items dropped as idle (`items.idle_s`)",
    "embeddings_left_out": "embeddings of another length than `content.dimensions`",
    "users": "users known now",
    "guests": "guests known now",
    "users_active": "users whose lists are kept fresh now",
    "users_active_evicted": "users whose lists are no longer kept fresh, for want of room (`refresh.users`)",
    "refreshes_allowed": "lists that may be refreshed now (`refresh.max_share`)",
    "searches": "answers to searches",
    "searches_reordered": "of these, answers in another order than the engine's",
    "search_choices": "results of these answers that were chosen",
    "users_evicted": "users dropped for want of room (`users.max`)",
    "users_idle": "users dropped as idle (`users.idle_s`)",
    "guests_joined": "guests whose history became a user's",
    "forgotten": "forget events obeyed",
    "drifts": "falls of the hit rate that were noticed",
    "adapted": "steep falls, after which what came together counts less (`items.drift_decay`)",
    "explored": "places given to items that are tried (`explore.share`)",
    "explored_taken": "of these, items that the user went for",
    "rule_*": "items that a rule took off lists",
    "rule_*_moved": "items that a rule left on lists in another place",
}

QUALITY_DESCRIPTIONS = {
    "hr20": "share of events whose item was among the first 20 of the list made just before it (HR@20)",
    "mrr20": "mean of 1 / place of that item, 0 beyond the 20th (MRR@20)",
    "recent_*": "the same over the last 5,000 events",
    "published_*": "the same of the list that the user was last sent",
    "popularity_*": "the same of a list of what was most popular in the last 200 events",
    "search_*": "the same of what was chosen of search results, in our order",
    "engine_*": "the same in the engine's order",
}


def describe_metric(name: str, descriptions: dict[str, str]) -> str | None:
    """What a name says, by the closest entry that stands for it.

    >>> [describe_metric(name, COUNTER_DESCRIPTIONS) for name in ("rule_blocked_moved", "nothing")]
    ['items that a rule left on lists in another place', None]
    """
    closest = max((pattern for pattern in descriptions if fnmatchcase(name, pattern)), key=len, default=None)
    return None if closest is None else descriptions[closest]
