"""Alerts come and go as they should, and all that is asked of Prometheus is something that it is told."""

import json
import re
from itertools import combinations
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from freshflow.serving.metrics import ServerMetrics
from freshflow.serving.responses import Health, InputHealth
from freshflow.streaming.monitoring.metric_specs import metric_specs

from .tools import DEPLOY, ROOT, check, documents

DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
SUFFIXES = {"counter": [""], "gauge": [""], "summary": ["_sum", "_count"], "histogram": ["_sum", "_count", "_bucket"]}
# Of Prometheus itself, and of prometheus_client's ProcessCollector.
OTHERS = {"up", "process_start_time_seconds", "process_resident_memory_bytes"}
NAME = re.compile(r"\b(?:freshflow_\w+|process_\w+|up(?=\{))")


def exposed() -> set[str]:
    """Every series that the job or the server gives."""
    figures = ServerMetrics()
    figures.record_request("/healthz", 200, 0.1)
    health = InputHealth("related", "kafka://a:1/related", 1, 0, 0, 0, "records", 1.0, None)
    figures.list_age_recorder("related")(1.0)
    families = text_string_to_metric_families(figures.render(Health("ok", 1, 1, (health,))).decode())
    served = {sample.name for family in families for sample in family.samples}
    return (
        OTHERS
        | served
        | {metric.name + suffix for metric in metric_specs().values() for suffix in SUFFIXES[metric.type]}
    )


def panels() -> list[dict[str, Any]]:
    return [panel for path in DASHBOARDS for panel in json.loads(path.read_bytes())["panels"] if panel["type"] != "row"]


def queries() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def rules() -> list[dict[str, Any]]:
    (found,) = documents(DEPLOY / "prometheus" / "alerts.yml")
    return [rule for group in found["groups"] for rule in group["rules"]]


def test_the_configuration_is_read_by_prometheus() -> None:
    check("promtool", "check", "config", "prometheus/prometheus.yml")  # Debian's knows no Kubernetes


def test_alerts_come_and_go_as_they_should() -> None:
    check("promtool", "test", "rules", "prometheus/alerts_test.yml")


def test_every_alert_is_tested_and_leads_to_a_section_of_the_runbook() -> None:
    tests = (DEPLOY / "prometheus" / "alerts_test.yml").read_text("utf-8")
    headings = re.findall(r"^#+ (.*)$", (DEPLOY / "RUNBOOK.md").read_text("utf-8"), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for rule in rules():
        assert rule["alert"] in tests
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert page == "RUNBOOK.md"
        assert anchor in anchors


def test_alerts_and_dashboards_ask_for_series_that_there_are() -> None:
    asked = {name for query in [*queries(), *(rule["expr"] for rule in rules())] for name in NAME.findall(query)}
    assert len(asked) > 25
    assert asked <= exposed()


def test_queries_of_dashboards_are_read_by_prometheus(tmp_path: Any) -> None:
    recorded = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "1m")}
        for number, query in enumerate(queries())
    ]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboards", "rules": recorded}]}))
    check("promtool", "check", "rules", tmp_path / "rules.yml")


def test_dashboards_are_at_home_where_they_are_provisioned_and_no_panel_covers_another() -> None:
    (provider,) = documents(DEPLOY / "grafana" / "provisioning" / "dashboards" / "freshflow.yaml")
    folder = provider["providers"][0]["options"]["path"]
    compose = (DEPLOY / "compose.yaml").read_text("utf-8")
    assert f"./grafana/dashboards:{folder}:ro" in compose
    for path in DASHBOARDS:
        dashboard = json.loads(path.read_bytes())
        assert dashboard["uid"] == path.stem
        assert f"{folder}/{path.name}" in compose
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(ids)) == len(ids)
        for one, other in combinations((panel["gridPos"] for panel in dashboard["panels"]), 2):
            assert (
                one["x"] + one["w"] <= other["x"]
                or other["x"] + other["w"] <= one["x"]
                or one["y"] + one["h"] <= other["y"]
                or other["y"] + other["h"] <= one["y"]
            )


def test_what_is_scraped_is_called_as_alerts_and_dashboards_call_it() -> None:
    (local,) = documents(DEPLOY / "prometheus" / "prometheus.yml")
    names = {one["job_name"] for one in local["scrape_configs"]}
    (cluster,) = documents(DEPLOY / "prometheus" / "kubernetes.yml")
    relabelled = cluster["scrape_configs"][0]["relabel_configs"]
    assert {one["replacement"] for one in relabelled if one.get("target_label") == "job"} == names
    called = set(re.findall(r'job="([\w-]+)"', " ".join([*queries(), *(rule["expr"] for rule in rules())])))
    assert called == names
    services = (ROOT / "deploy" / "compose.yaml").read_text("utf-8")
    for one in local["scrape_configs"]:
        (target,) = one["static_configs"][0]["targets"]
        service, _, port = target.partition(":")
        assert f"\n  {service}:\n" in services
        assert f":{port}" in services or f"={port}" in services
