"""Generate the schemas, and the regions of the pages between two comments:

<!-- generated: NAME -->
...
<!-- end -->
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from freshflow.cli.reference.example_file import EXAMPLE_FILE, example_file
from freshflow.cli.reference.json_schemas import SCHEMAS, build_schema
from freshflow.cli.schema import format_schema
from freshflow.config.schema import DEFAULT_WEIGHTS, Config, UsersConfig
from freshflow.events.json_schema import WIRE_EVENT_TYPES
from freshflow.metrics.catalogue import COUNT_METRICS, QUALITY_METRICS, Metric
from freshflow.streaming.monitoring.metric_specs import build_metrics_table
from tests.docs.commands import commands_reference
from tests.docs.fields import fields_table
from tests.docs.pages import DOCS, PAGES
from tests.docs.refusals import refusals_table
from tests.docs.settings import settings_reference
from tests.docs.tables import table

REGION = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
TITLE = re.compile(r"^# (?:\d+[.:]? *)?(.+)$", re.MULTILINE)


def _fields(name: str, definition: str) -> Callable[[], str]:
    return lambda: fields_table(build_schema(name), definition)


def _metrics(metrics: Sequence[Metric]) -> Callable[[], str]:
    rows = [(f"`{metric.name}`", metric.type, metric.unit, metric.description) for metric in metrics]
    return lambda: table(("name", "type", "unit", "meaning"), rows)


def _events(definition: str) -> Callable[[], str]:
    guests = definition == "IdentifyEvent"  # which there is only where they are known
    return lambda: fields_table(build_schema("events", Config(users=UsersConfig(guests=guests))), definition)


def _weights() -> str:
    return " · ".join(f"`{type_}` {weight:g}" for type_, weight in DEFAULT_WEIGHTS.items())


def _decisions() -> str:
    rows = []
    for path in sorted((DOCS / "decisions").glob("[0-9]*.md")):
        title = TITLE.search(path.read_text("utf-8"))
        assert title is not None, f"{path} has no title"
        rows.append((path.name[:4].lstrip("0"), f"[{title[1]}]({path.name})"))
    return table(("", "decision"), rows)


def _schemas() -> str:
    return table(
        ("schema", "contents"), [(f"[{name}](../schemas/{name}.schema.json)", SCHEMAS[name][0]) for name in SCHEMAS]
    )


REGIONS: dict[str, Callable[[], str]] = {
    **{f"event {record.__name__}": _events(record.__name__) for record in WIRE_EVENT_TYPES},
    "event types": _weights,
    "refusals": refusals_table,
    "list": _fields("recommendations", "PublishedList"),
    "related items": _fields("related", "RelatedItems"),
    "report": _fields("metrics", "Report"),
    "receipt": _fields("metrics", "Receipt"),
    "comparison": _fields("metrics", "Comparison"),
    "counts": _metrics(COUNT_METRICS),
    "quality": _metrics(QUALITY_METRICS),
    "prometheus": build_metrics_table,
    "dead letter": _fields("dead-letters", "DeadLetter"),
    "schemas": _schemas,
    "settings": settings_reference,
    "commands": commands_reference,
    "decisions": _decisions,
}


def generated() -> Iterator[tuple[Path, str]]:
    """Yield the path and the text of each file that is generated in whole or in part."""
    yield EXAMPLE_FILE, example_file()
    for name in SCHEMAS:
        yield DOCS / "schemas" / f"{name}.schema.json", format_schema(build_schema(name)) + "\n"
    for page in PAGES:
        text = page.read_text("utf-8")
        if REGION.search(text):
            yield page, REGION.sub(lambda found: f"{found[1]}\n{REGIONS[found[2]]()}\n\n{found[3]}", text)
