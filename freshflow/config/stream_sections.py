"""Settings of the path of every event: from the record that is read to the list that is published."""

from typing import Annotated

import msgspec
from msgspec import Meta

from freshflow.config.section import PositiveInt, PositiveNumber, PositiveSeconds, Section

# Weight of an event relative to a view. It grows with the effort and the money that a user spends.
DEFAULT_WEIGHTS: dict[str, float] = {
    "view": 1.0,
    "click": 1.0,
    "watch": 1.0,
    "rate": 1.0,
    "like": 2.0,
    "wishlist": 2.0,
    "follow": 2.0,
    "comment": 2.0,
    "share": 2.0,
    "cart": 3.0,
    "purchase": 5.0,
    "dismiss": -1.0,
}

# Values at which an event has its full weight: five stars, a film watched to its end.
DEFAULT_FULL_VALUES: dict[str, float] = {"rate": 5.0, "watch": 1.0}

MAX_PARTITIONS = 256


class JobConfig(Section, frozen=True):
    """Partitions, batches and epochs of the dataflow."""

    partitions: Annotated[
        int,
        Meta(
            ge=1,
            le=MAX_PARTITIONS,
            description="Number of partitions. Each has its own users and its own model; all of them know every item. "
            "One is best up to a few thousand events a second; with several processes, use at least as many partitions "
            "as processes. A change needs a fresh start, because snapshots belong to one number of partitions.",
        ),
    ] = 1
    batch_size: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000,
            description="Records that a source emits at once. Larger batches are faster and delay lists slightly.",
        ),
    ] = 256
    epoch_s: Annotated[
        PositiveSeconds,
        Meta(
            description="Seconds between snapshots of the state. A crash repeats at most this much work; shorter "
            "epochs write more."
        ),
    ] = 2.0


class EventsConfig(Section, frozen=True):
    """Format, limits and weights of events."""

    format: Annotated[
        str,
        Meta(
            description="Format of the input, as --format. `freshflow` is the native format. `auto` is the native "
            "format, or another one where a record can belong to no other. See the page on formats."
        ),
    ] = "auto"
    map: Annotated[
        dict[str, str],
        Meta(
            description="Paths of fields that stand elsewhere than the format has them, as --map. A value that begins "
            'with `=` is a constant. Under "auto" the other fields are those of the native format.',
            examples=['user_id = "visitor.id"', 'type = "=view"'],
            extra={"allowed": '"a", "a.b" or "=text"'},
        ),
    ] = msgspec.field(default_factory=dict)
    types: Annotated[
        dict[str, str],
        Meta(
            description="Types of your own and the types that they stand for. Other types keep their names.",
            examples=['viewed = "view"', '"order placed" = "purchase"'],
            extra={"allowed": "a type with a weight, or a control event"},
        ),
    ] = msgspec.field(default_factory=dict)
    max_bytes: Annotated[
        int, Meta(ge=100, description="Maximum size of an event in bytes. Longer events go to the dead letters.")
    ] = 1_048_576
    max_future_s: Annotated[
        PositiveSeconds,
        Meta(
            description="Maximum seconds by which an event may be dated after it is read; device clocks are off by "
            "minutes. Later events go to the dead letters, because they would age everything else."
        ),
    ] = 3600.0
    max_clock_skew_s: Annotated[
        PositiveSeconds,
        Meta(
            description="Maximum seconds by which a past event may be dated ahead of all events before it. A larger "
            "jump is accepted once the next events of two other users confirm it; otherwise the event goes to the "
            "dead letters. A stream may pause for any time."
        ),
    ] = 86_400.0
    weights: Annotated[
        dict[str, float],
        Meta(
            description="Weight of an event by type, as a multiple of a view. Below 0 is dislike; 0 teaches nothing. "
            "Add your own types here: types without a weight go to the dead letters. The control events request, "
            "search, item, forget and identify have no weight.",
            extra={"allowed": "any number"},
        ),
    ] = msgspec.field(default_factory=lambda: dict(DEFAULT_WEIGHTS))
    full_value: Annotated[
        dict[str, PositiveNumber],
        Meta(
            description="Value at which an event of a type has its full weight; half the value has half the weight. "
            "The defaults are five stars, and a film watched to its end. Types without an entry ignore the value.",
        ),
    ] = msgspec.field(default_factory=lambda: dict(DEFAULT_FULL_VALUES))


class UsersConfig(Section, frozen=True):
    """Sessions, history and number of users."""

    session_gap_s: Annotated[
        PositiveSeconds,
        Meta(
            description="Seconds of inactivity that end a session, where events have no session_id. Half an hour is "
            "the convention of web analytics; apps and television need more."
        ),
    ] = 1800.0
    context: Annotated[
        int,
        Meta(
            ge=1,
            le=100,
            description="Latest interactions of a user that form the context of an event.",
            extra={"allowed": "1 to 100, at most users.history"},
        ),
    ] = 20
    history: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000,
            description="Interactions kept per user; the oldest are dropped. They tell which items a user has seen "
            "and bought.",
        ),
    ] = 100
    max: Annotated[
        PositiveInt,
        Meta(
            description="Maximum number of users. Beyond it the users who have been inactive longest are dropped. "
            "Memory grows with it."
        ),
    ] = 1_000_000
    allowed_lateness_s: Annotated[
        float,
        Meta(
            ge=0,
            description="Maximum seconds by which an event may be older than its user's latest one. Late events "
            "within this limit are put in their place in the history; older ones are counted as late and dropped.",
        ),
    ] = 86_400.0
    idle_s: Annotated[
        float,
        Meta(
            ge=0,
            description="Seconds of inactivity after which a user is dropped and their list is deleted by a "
            "tombstone. 0 keeps users while there is room. Time is event time; 31536000 is a year.",
        ),
    ] = 0.0
    guests: Annotated[
        bool,
        Meta(
            description="Accept events without user_id as those of anonymous users, known by guest_id or session_id "
            "until an identify event names the user. Otherwise such events go to the dead letters. See the page on "
            "guests."
        ),
    ] = False
    guest_idle_s: Annotated[
        float,
        Meta(
            ge=0,
            description="Seconds of inactivity after which an anonymous user is dropped: most never return. 2592000 "
            "is a month. There are at most users.max anonymous users.",
        ),
    ] = 2_592_000.0


class NoiseConfig(Section, frozen=True):
    """Filter for bots: their users still get lists, but their events teach nothing and are counted."""

    events: Annotated[
        int,
        Meta(
            ge=0,
            description="Events within window_s seconds that make a user a bot until the rate falls. 0 switches the "
            "check off.",
        ),
    ] = 60
    window_s: Annotated[
        PositiveSeconds,
        Meta(
            description="Window of the rate check in seconds of event time, so a phone that uploads a backlog is not "
            "affected."
        ),
    ] = 60.0
    repeats: Annotated[
        int,
        Meta(
            ge=0,
            description="Consecutive events with one item in one session beyond which they are a loop. 0 switches the "
            "check off.",
        ),
    ] = 20
    session_events: Annotated[
        int,
        Meta(
            ge=0,
            description="Events of one session beyond which the user is a crawler, however slow. 0 switches the check "
            "off.",
        ),
    ] = 1000
    unseen: Annotated[
        int,
        Meta(
            ge=0,
            description="Consecutive events of weight 2 or more (cart, purchase, like) with items that the user never "
            "touched before, beyond which they are implausible. 0 switches the check off; 10 is enough where the "
            "stream has all views.",
        ),
    ] = 0


class ItemsConfig(Section, frozen=True):
    """Statistics and number of items."""

    max: Annotated[
        int,
        Meta(
            ge=100,
            le=10_000_000,
            description="Maximum number of items in every partition; beyond it the least popular are dropped. Set it "
            "somewhat above the size of the catalogue. Memory grows with items.max times items.neighbours.",
        ),
    ] = 100_000
    neighbours: Annotated[
        int, Meta(ge=1, le=1024, description="Co-visited items kept per item; the weakest are dropped.")
    ] = 64
    context: Annotated[
        int,
        Meta(
            ge=1,
            le=100,
            description="Items before an event that are counted as co-visited with it.",
            extra={"allowed": "1 to 100, at most users.context"},
        ),
    ] = 10
    drift_decay: Annotated[
        float,
        Meta(
            gt=0,
            le=1,
            description="Factor on all co-visitation counts after a severe drift of the hit rate. Below 1 new "
            "co-visits outweigh old ones sooner, as they should after tastes or a catalogue have changed overnight.",
        ),
    ] = 0.1
    idle_s: Annotated[
        float,
        Meta(
            ge=0,
            description="Seconds without a visit or an item event after which an item is dropped. 0 keeps items while "
            "there is room. The catalogue entry of a dropped item is lost, including that it is unavailable.",
        ),
    ] = 0.0


class RankingConfig(Section, frozen=True):
    """Number of candidates by source."""

    candidates: Annotated[
        int,
        Meta(
            ge=10,
            le=2000,
            description="Candidates ranked for a list, over all sources. More are slower and seldom better.",
        ),
    ] = 120
    popular_recent: Annotated[
        int,
        Meta(
            ge=0,
            le=200,
            description="Candidates from the most popular items of the last 200 events. Raise it for fast news.",
        ),
    ] = 25
    popular: Annotated[
        int, Meta(ge=0, le=2000, description="Candidates from the most popular items of the last 2000 events.")
    ] = 10
    opening_recent: Annotated[
        int, Meta(ge=0, le=200, description="Candidates from the items that began the last 200 sessions.")
    ] = 15
    opening: Annotated[
        int, Meta(ge=0, le=2000, description="Candidates from the items that began the last 2000 sessions.")
    ] = 20


class RankerConfig(Section, frozen=True):
    """River model of a partition and its training."""

    model: Annotated[
        str,
        Meta(
            description="Function that returns a partition's River model, shipped or your own: a classifier or a "
            "pipeline. Shipped are freshflow.ranking.model_factories:adam, :sgd, :scaled and :tree. Logistic "
            "regressions, alone or behind scalers, rank all candidates; any other classifier re-ranks the best "
            "candidates of :adam and costs milliseconds. A change needs a fresh start.",
            extra={"allowed": '"package.module:function"'},
        ),
    ] = "freshflow.ranking.model_factories:adam"
    hidden_units: Annotated[
        int,
        Meta(
            ge=0,
            le=128,
            description="Hidden units, which learn interactions between features. 0 switches them off: faster and less "
            "accurate. A change needs a fresh start.",
        ),
    ] = 16
    broadcast_examples: Annotated[
        int,
        Meta(
            ge=0,
            description="First examples of a job with several partitions that train the rankers of all of them; each "
            "later example trains one. More are slower for longer, and bring lists closer to those of a single "
            "partition.",
        ),
    ] = 20_000
    shortlist: Annotated[
        int,
        Meta(
            ge=2,
            le=200,
            description="Candidates that a model other than a logistic regression re-ranks. More are slower.",
        ),
    ] = 30


class ListsConfig(Section, frozen=True):
    """Length and content of published lists."""

    k: Annotated[
        int, Meta(ge=1, le=200, description="Items of a published list. A request can ask for another number.")
    ] = 20
    contributions: Annotated[
        bool,
        Meta(
            description="Publish the contribution of every feature to the score of every item. Lists grow about "
            "tenfold."
        ),
    ] = False
