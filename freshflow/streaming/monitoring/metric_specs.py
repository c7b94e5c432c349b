"""Families of the Prometheus endpoint, derived from the table of metrics and the registered rules."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from freshflow.config.schema import Config
from freshflow.metrics.catalogue import COUNT_METRICS, FAMILIES, Metric, MetricType
from freshflow.rules.registry import has_rules, registered_rules


class MetricSpec(NamedTuple):
    """A family: its name, type, labels and help text.

    For counts of a partition, `count_names` maps the value of the label beside `partition`, or "" without such a label,
    to the name of the count in a `Report`, and `applies_to` tells which configurations have them.
    """

    name: str
    type: MetricType
    labels: tuple[str, ...]
    help: str
    count_names: Mapping[str, str] = MappingProxyType({})
    applies_to: Callable[[Config], bool] = lambda config: True


def metric_specs() -> dict[str, MetricSpec]:
    """Return all families by name, with the counts of the rules that are registered by now."""
    specs = {name: MetricSpec(name, type_, labels, help_) for name, type_, labels, help_ in FAMILIES}
    for metric in COUNT_METRICS:
        help_text = metric.description.replace("`", "")
        spec = specs.get(metric.family) or MetricSpec(metric.family, metric.type, ("partition",), help_text)
        applies_to = has_rules if metric.name.startswith("rule_") else metric.applies_to
        specs[metric.family] = spec._replace(
            count_names={**spec.count_names, **_count_names(metric)}, applies_to=applies_to
        )
    return specs


def _count_names(metric: Metric) -> dict[str, str]:
    """Return the names of the counts of a metric by label value; `*` stands for every registered rule."""
    if metric.label is None:
        return {"": metric.name}
    values = [spec.name for spec in registered_rules()] if metric.label[1] == "*" else [metric.label[1]]
    return {value: metric.name.replace("*", value) for value in values}


def build_metrics_table() -> str:
    """Return all families as a table in Markdown."""
    rows = [
        f"| `{spec.name}` | {spec.type} | {', '.join(f'`{label}`' for label in spec.labels)} | {spec.help} |"
        for spec in metric_specs().values()
    ]
    return "\n".join(["| metric | type | labels | meaning |", "|---|---|---|---|", *rows])
