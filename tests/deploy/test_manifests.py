"""What deploys the job is valid, and says what the commands take."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
MANIFESTS = sorted(path for path in (DEPLOY / "kubernetes").glob("*.yaml") if path.name != "kustomization.yaml")
LISTS_OPTIONS = re.compile(r"--[a-z][a-z-]+")


def tool(name: str) -> str:
    """Where a tool of the dependency group `deploy` is; a test that needs it is skipped if nobody asked for it."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        assert "FRESHFLOW_TEST_DEPLOY" not in os.environ, f"{name} is missing"
        pytest.skip(f"{name} is not installed: make test-deploy")
    return found


def check(name: str, *arguments: object) -> None:
    done = subprocess.run([tool(name), *map(str, arguments)], cwd=DEPLOY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def manifests() -> list[dict[str, Any]]:
    yaml = pytest.importorskip("yaml")
    return [document for path in MANIFESTS for document in yaml.safe_load_all(path.read_bytes())]


def test_the_compose_file_follows_its_specification() -> None:
    check("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_manifests_follow_the_schemas_of_kubernetes(manifest: Path) -> None:
    check("kubernetes-validate", "--strict", manifest)


def test_the_image_is_built_as_the_linter_of_dockerfiles_wants_it() -> None:
    check("hadolint", "Dockerfile")


def test_no_pod_runs_as_root_writes_to_its_image_or_may_ask_for_more() -> None:
    pods = [document["spec"]["template"]["spec"] for document in manifests() if "template" in document["spec"]]
    assert len(pods) == 3
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            of = container["securityContext"]
            assert of["readOnlyRootFilesystem"] is True
            assert of["allowPrivilegeEscalation"] is False
            assert of["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]


def test_every_command_that_is_deployed_has_the_options_it_is_given() -> None:
    yaml = pytest.importorskip("yaml")
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_bytes())["services"]
    commands = [service["command"] for service in services.values() if "command" in service]
    for document in manifests():
        for container in document["spec"].get("template", {}).get("spec", {}).get("containers", []):
            commands.append(container["args"])
    assert len(commands) == 6
    for command in commands:
        words = [word for word in command if not word.startswith(("-", "kafka:"))]
        helped = subprocess.run(
            [sys.executable, "-m", "freshflow.cli.main", *words, "--help"],
            capture_output=True,
            text=True,
            env=os.environ | {"COLUMNS": "200"},
        )
        assert helped.returncode == 0, helped.stderr
        known = set(LISTS_OPTIONS.findall(helped.stdout))
        assert {word.partition("=")[0] for word in command if word.startswith("--")} <= known, words


def test_ports_of_the_compose_file_are_open_to_its_machine_alone() -> None:
    yaml = pytest.importorskip("yaml")
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_bytes())["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_alerts_come_and_go_as_they_should() -> None:
    check("promtool", "check", "config", "prometheus/prometheus.yml")
    check("promtool", "test", "rules", "prometheus/alerts_test.yml")


def test_dashboards_are_read_by_the_name_they_are_provisioned_under() -> None:
    for path in (DEPLOY / "grafana" / "dashboards").glob("*.json"):
        dashboard = json.loads(path.read_bytes())
        assert dashboard["uid"] == path.stem
        assert all(panel["targets"] for panel in dashboard["panels"] if panel["type"] != "row")
