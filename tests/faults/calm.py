"""What a disturbed job is measured by: the same job over the same events, to which nothing happened.

The recovery folder of the one is `told`, that of the other `calm`.
"""

from pathlib import Path

from freshflow.config.schema import Config

from .jobs import Job
from .kafka import Topics
from .published import lists_in_topic
from .states import differences, states, totals, users

__all__ = ["disturbed_totals", "other_state", "undisturbed"]


def undisturbed(folder: Path, *options: object) -> None:
    """Let the undisturbed job run to the end."""
    with Job(folder, *options, "--until-end", "--recovery", "calm", "--quiet") as job:
        assert job.wait() == 0, job.said


def disturbed_totals(folder: Path, topics: Topics, config: Config) -> tuple[int, int, tuple[str, ...]]:
    """Lists lost and twice, and what differs from an undisturbed job, of a job whose lists depend on chance.

    With several partitions an event of one partition may be a moment earlier or later in another. So what is compared
    is who did what, and how many lists were made; each that was counted has to be there.
    """
    told, calm = (states(folder / name, config) for name in ("told", "calm"))
    lists = lists_in_topic(topics.broker, topics.lists)
    wrong = tuple(differences(users(calm), users(told), "users"))
    counted = totals(told, "events", "answers")
    wrong += tuple(differences(totals(calm, "events", "answers"), counted, "totals"))
    made = totals(told, "lists", "unchanged", "refreshed", "withdrawn", "answers")
    noise = totals(told, "noise_rate", "noise_repeats", "noise_sequence")  # which gets lists, too
    if made["lists"] + made["unchanged"] != counted["events"] + sum(noise.values()):
        wrong += ("events are missing among those that changed a list or not",)
    lost = max(0, made["lists"] + made["refreshed"] + made["withdrawn"] + made["answers"] - len(lists.content))
    lost += max(0, counted["answers"] - len(lists.requests))
    return lost, lists.repeated, wrong


def other_state(folder: Path, config: Config) -> tuple[str, ...]:
    """Where what was learned differs from what the undisturbed job did."""
    told, calm = (states(folder / name, config) for name in ("told", "calm"))
    return tuple(differences(calm, told))
