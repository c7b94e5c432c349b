"""What looks at deploy/: tools of the dependency group `deploy`, and promtool."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
MANIFESTS = sorted(path for path in (DEPLOY / "kubernetes").glob("*.yaml") if path.name != "kustomization.yaml")
PROBLEM = "{} is not installed: run `make test-deploy`; promtool is in Debian's package prometheus"


def tool(name: str) -> str:
    """Where a tool is; without it a test is skipped, unless FRESHFLOW_TEST_DEPLOY says that all must be there."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        _missing(name)
    return str(found)


def check(name: str, *arguments: object) -> None:
    """Run a tool in deploy/; what it says against it is the failure."""
    done = subprocess.run([tool(name), *map(str, arguments)], cwd=DEPLOY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def documents(path: Path) -> list[Any]:
    """What a YAML file holds, document by document."""
    try:
        import yaml  # of check-jsonschema and kubernetes-validate
    except ModuleNotFoundError:
        _missing("pyyaml")
    return list(yaml.safe_load_all(path.read_bytes()))


def manifests() -> list[dict[str, Any]]:
    """All objects that are deployed to Kubernetes."""
    return [document for path in MANIFESTS for document in documents(path)]


def pods() -> list[dict[str, Any]]:
    """What their pods are to be."""
    templates = [one["spec"]["template"]["spec"] for one in manifests() if "template" in one.get("spec", {})]
    return templates + [one["spec"] for one in manifests() if one["kind"] == "Pod"]


def containers() -> list[dict[str, Any]]:
    """All containers of all pods, those that run before the others included."""
    return [one for pod in pods() for one in [*pod.get("initContainers", []), *pod["containers"]]]


def services() -> dict[str, Any]:
    """The services of the compose file."""
    (compose,) = documents(DEPLOY / "compose.yaml")
    found: dict[str, Any] = compose["services"]
    return found


def _missing(name: str) -> None:
    assert "FRESHFLOW_TEST_DEPLOY" not in os.environ, PROBLEM.format(name)
    pytest.skip(PROBLEM.format(name))
