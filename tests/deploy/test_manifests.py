"""What deploys the job is valid, asks for no more than it needs, and fits together."""

import re
from pathlib import Path

import pytest

from .tools import DEPLOY, MANIFESTS, ROOT, check, containers, documents, manifests, pods, services


def test_the_compose_file_follows_its_specification() -> None:
    check("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_manifests_follow_the_schemas_of_kubernetes(manifest: Path) -> None:
    check("kubernetes-validate", "--strict", manifest)


def test_the_image_is_built_as_the_linter_of_dockerfiles_wants_it() -> None:
    check("hadolint", "Dockerfile")


def test_all_that_the_image_is_made_of_is_sent_to_the_builder() -> None:
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    sent = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")}
    assert sources == sent
    assert all((ROOT / source).exists() for source in sources)


def test_no_pod_runs_as_root_writes_to_its_image_or_may_ask_for_more() -> None:
    for pod in pods():
        of = pod["securityContext"]
        assert of["runAsNonRoot"] is True
        assert of["seccompProfile"] == {"type": "RuntimeDefault"}
        assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
    assert len(containers()) == 4
    for container in containers():
        of = container["securityContext"]
        assert of["readOnlyRootFilesystem"] is True
        assert of["allowPrivilegeEscalation"] is False
        assert of["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


def test_pods_run_as_the_user_of_the_image() -> None:
    (user,) = re.findall(r"^USER (\d+):(\d+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    for pod in pods():
        of = pod["securityContext"]
        assert (of["runAsUser"], of["runAsGroup"], of["fsGroup"]) == (int(user[0]), int(user[1]), int(user[1]))


def test_services_of_compose_that_are_ours_have_no_rights_and_a_file_system_that_is_read_only() -> None:
    ours = [service for service in services().values() if service["image"].startswith("freshflow:")]
    assert len(ours) == 3
    for service in ours:
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_ports_of_the_compose_file_are_open_to_its_machine_alone() -> None:
    ports = [port for service in services().values() for port in service.get("ports", [])]
    assert len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_a_job_is_given_the_same_time_to_stop_wherever_it_runs() -> None:
    (stateful,) = [one for one in manifests() if one["kind"] == "StatefulSet"]
    grace_s = stateful["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert services()["job"]["stop_grace_period"] == f"{grace_s}s"


def test_budgets_services_and_policies_select_pods_that_there_are() -> None:
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in manifests() if "template" in one.get("spec", {})]
    selectors = {
        "PodDisruptionBudget": lambda spec: spec["selector"]["matchLabels"],
        "NetworkPolicy": lambda spec: spec["podSelector"]["matchLabels"],
        "Service": lambda spec: spec["selector"],
    }
    kinds = []
    for one in manifests():
        if one["kind"] in selectors:
            kinds.append(one["kind"])
            selected = selectors[one["kind"]](one["spec"])
            assert any(selected.items() <= of.items() for of in labels), one
    assert sorted(set(kinds)) == sorted(selectors)
    assert kinds.count("PodDisruptionBudget") == 2


def test_volumes_that_are_mounted_are_there() -> None:
    claims = {
        claim["metadata"]["name"]
        for one in manifests()
        for claim in one.get("spec", {}).get("volumeClaimTemplates", [])
    }
    for pod in pods():
        there = {volume["name"] for volume in pod["volumes"]} | claims
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted <= there
    (shell,) = [pod for pod in pods() if pod["containers"][0]["name"] == "shell"]
    claimed = [volume["persistentVolumeClaim"]["claimName"] for volume in shell["volumes"] if volume["name"] == "data"]
    assert claimed == ["data-job-0"]


def test_the_kustomization_names_the_files_that_there_are_and_no_secret() -> None:
    (kustomization,) = documents(DEPLOY / "kubernetes" / "kustomization.yaml")
    assert {*kustomization["resources"], "shell.yaml"} == {path.name for path in MANIFESTS}
    assert "secretGenerator" not in kustomization
    assert not [one for one in manifests() if one["kind"] == "Secret"]
    image = "{newName}:{newTag}".format(**kustomization["images"][0])
    assert [one["image"] for one in containers()].count(image) == 1  # the shell, which is applied by itself
