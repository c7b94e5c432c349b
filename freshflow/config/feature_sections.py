"""Settings of the optional features: refreshes, search, business rules, exploration, related items and content."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from freshflow.config.section import PositiveInt, PositiveNumber, PositiveSeconds, Section


class RefreshConfig(Section, frozen=True):
    """Refreshes of the lists of inactive users."""

    interval_s: Annotated[
        float,
        Meta(
            ge=0,
            description="Minimum seconds between two lists of an inactive user, in event time, which a live job "
            "advances by the clock while no event arrives. 0 switches refreshes off.",
        ),
    ] = 60.0
    horizon_s: Annotated[
        PositiveSeconds,
        Meta(
            description="Seconds since a user's last event after which their list is no longer refreshed: three months."
        ),
    ] = 7_776_000.0
    max_share: Annotated[
        float,
        Meta(
            ge=0,
            lt=1,
            description="Maximum share of refreshes among published lists. Refreshes go where the expected gain is "
            "largest; where there is no gain, as for users who do not return, far fewer are made.",
        ),
    ] = 0.965
    users: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000_000,
            description="Users with refreshed lists; the least recently active are dropped. Each takes about 700 "
            "bytes.",
        ),
    ] = 50_000


class SearchConfig(Section, frozen=True):
    """Re-ranking of search results; see the page on search."""

    max_queries: Annotated[
        int,
        Meta(
            ge=0,
            le=10_000_000,
            description="Queries, and words of queries, whose chosen results are remembered. The least recently "
            "chosen are dropped. 0 learns nothing from searches, and answers keep the engine's order.",
        ),
    ] = 20_000
    drop_unavailable: Annotated[
        bool,
        Meta(description="Drop results that the catalogue marks as unavailable. Otherwise they go to the end."),
    ] = False
    drop_dismissed: Annotated[
        bool, Meta(description="Drop results that the user has dismissed. Otherwise they go to the end.")
    ] = False
    max_added_items: Annotated[
        int,
        Meta(
            ge=0,
            le=100,
            description="Maximum number of items in an answer that the engine did not return: available items that "
            "users choose most after the query. They follow the engine's results.",
        ),
    ] = 0


class RulesConfig(Section, frozen=True):
    """Business rules; 0 or an empty value switches a rule off."""

    hide_bought_s: Annotated[
        float,
        Meta(
            ge=0,
            description="Seconds for which purchased items are hidden from their buyer. 0 shows them. At most "
            "users.history purchases per user are remembered, from the start of a job with this setting. See the page "
            "on rules.",
        ),
    ] = 0.0
    blocked: Annotated[tuple[str, ...], Meta(description="Items that no list shows.")] = ()
    blocked_file: Annotated[
        str,
        Meta(
            description="Text file with more blocked items, one id a line, read when the job starts.",
            extra={"allowed": 'a path; "" is none'},
        ),
    ] = ""
    per_category: Annotated[
        int,
        Meta(
            ge=0,
            description="Maximum number of items of one category in a list; an item counts in its first four "
            "categories. 0 is no limit.",
        ),
    ] = 0
    per_brand: Annotated[
        int, Meta(ge=0, description="Maximum number of items of one brand in a list. 0 is no limit.")
    ] = 0
    diversity: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="Weight of an item's dissimilarity to the items above it, against its score. At 1 only "
            "dissimilarity counts.",
        ),
    ] = 0.0
    fresh: Annotated[
        int,
        Meta(
            ge=0,
            le=200,
            description="Minimum number of items younger than fresh_s seconds among the first lists.k of a list.",
        ),
    ] = 0
    fresh_s: Annotated[
        PositiveSeconds,
        Meta(
            description="Seconds since an item's published_at, or since its first event, for which it is fresh. The "
            "default is a week."
        ),
    ] = 604_800.0
    price_power: Annotated[
        float,
        Meta(
            ge=-10,
            le=10,
            description="Power of the price in the weight of an item: at 1 twice the usual price counts twice, at -1 "
            "half. 0 ignores prices.",
        ),
    ] = 0.0
    hide_in_search: Annotated[
        bool,
        Meta(
            description="Remove blocked and recently bought items from search results, too. No other rule changes them."
        ),
    ] = False
    pinned: Annotated[
        dict[str, Annotated[int, Meta(ge=1, le=200)]],
        Meta(
            description="Items with a fixed position in every list, while they are available.",
            examples=['"i17" = 1'],
            extra={"allowed": "a position from 1 to 200"},
        ),
    ] = msgspec.field(default_factory=dict)
    boost_items: Annotated[
        dict[str, PositiveNumber],
        Meta(description="Factors on the weight of single items.", examples=['"i17" = 2.0']),
    ] = msgspec.field(default_factory=dict)
    boost_categories: Annotated[
        dict[str, PositiveNumber],
        Meta(description="Factors on the weight of all items of a category; factors multiply."),
    ] = msgspec.field(default_factory=dict)
    boost_brands: Annotated[
        dict[str, PositiveNumber], Meta(description="Factors on the weight of all items of a brand.")
    ] = msgspec.field(default_factory=dict)
    # Settings of rules that `plugins.modules` register, by name: the tables `[rules.NAME]` as they stand in the file.
    extensions: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)


class BusinessValueConfig(Section, frozen=True):
    """Value of a visit to an item, by the events that follow."""

    click: Annotated[
        float,
        Meta(
            ge=0,
            description="Value of the visit itself. With all other values at 0, lists show the items that users most "
            "probably visit.",
        ),
    ] = 1.0
    cart: Annotated[float, Meta(ge=0, description="Additional value of adding the item to the cart.")] = 0.0
    purchase: Annotated[float, Meta(ge=0, description="Additional value of buying the item.")] = 0.0
    margin: Annotated[
        float, Meta(ge=0, description="Additional value of buying the item, per unit of the item's margin.")
    ] = 0.0

    @property
    def is_enabled(self) -> bool:
        """True if items differ in value."""
        return bool(self.cart or self.purchase or self.margin)


class ExploreConfig(Section, frozen=True):
    """Exploration of young items."""

    share: Annotated[
        float,
        Meta(
            ge=0,
            le=0.25,
            description="Share of list positions given to young items, to learn their appeal. 0 switches exploration "
            "off. Each list publishes the probability of each choice; the page on exploration tells its use and its "
            "cost.",
        ),
    ] = 0.0
    arms: Annotated[
        int, Meta(ge=1, le=1000, description="Maximum number of young items tried at a time; the youngest are kept.")
    ] = 50
    visits: Annotated[PositiveInt, Meta(description="Visits after which an item is no longer young.")] = 20
    attribution_window_s: Annotated[
        PositiveSeconds,
        Meta(description="Seconds within which a user's next event decides if an explored item was taken."),
    ] = 3600.0


class RelatedConfig(Section, frozen=True):
    """Lists of related items, which --related publishes; see the page on related items."""

    k: Annotated[
        int, Meta(ge=1, le=100, description="Items of a list. No more than items.neighbours can be found.")
    ] = 10
    min_support: Annotated[
        float,
        Meta(
            ge=0,
            description="Minimum co-visitation count of a related item. Every earlier item of a session counts 1 with "
            "each later one, times the square root of the event's weight; up to 1 a single session is enough.",
        ),
    ] = 1.0
    interval_s: Annotated[
        float, Meta(ge=0, description="Minimum seconds between two lists of an item, in event time.")
    ] = 60.0
    max_updates_per_100_events: Annotated[
        PositiveNumber,
        Meta(
            description="Maximum number of lists published per 100 events of the whole stream. Up to 100 are saved "
            "for a burst; withdrawals of unavailable items do not wait."
        ),
    ] = 20.0
    min_change: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="Minimum change of a list that is published, weighted to its first positions. Another first "
            "of ten items is 0.22, another last one 0.06; 0 publishes every change.",
        ),
    ] = 0.15


class ContentConfig(Section, frozen=True):
    """Candidates from the content of items with few visits; see the page on cold items."""

    nearest: Annotated[
        int,
        Meta(
            ge=0,
            le=200,
            description="Candidates among items with few visits, by similarity of embedding and category to the "
            "user's items. Content is off if this and newest are 0.",
        ),
    ] = 0
    newest: Annotated[
        int,
        Meta(
            ge=0,
            le=200,
            description="Candidates among items with few visits, by launch time. They need no content.",
        ),
    ] = 0
    pool: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="Newest items with few visits that are searched for the nearest; every list scans all of "
            "them. Keep it far below items.max: these items are dropped last when the table of items is full.",
        ),
    ] = 2000
    dimensions: Annotated[
        int,
        Meta(
            ge=0,
            le=4096,
            description="Length of an embedding. 0 takes the length of the first embedding; others are ignored and "
            "counted.",
        ),
    ] = 0

    @property
    def max_candidates(self) -> int:
        """Maximum number of candidates that content adds."""
        return self.nearest + self.newest

    @property
    def is_enabled(self) -> bool:
        """True if content adds candidates."""
        return self.max_candidates > 0
