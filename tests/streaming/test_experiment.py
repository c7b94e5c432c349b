"""Two variants in one job: who is in which, what they share and what not, over restarts and in several processes."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from typer.testing import CliRunner, Result

from freshflow.cli.main import app
from freshflow.config.schema import Config, JobConfig, RankerConfig, RefreshConfig, UsersConfig, VariantConfig
from freshflow.engine.messages import EventBatch, RemoteEventBatch
from freshflow.engine.routing import partition_of
from freshflow.errors import ConfigError, SnapshotError
from freshflow.events.model import Interaction, Origin
from freshflow.state.backend import StateBackend
from freshflow.state.recovery_store import lock_recovery_dir, open_state_backend
from freshflow.streaming.experiment import VARIANT_SECTIONS, Variants, load_configs, load_variants, variant_of_user
from freshflow.streaming.job import JobUrls, StopFlag, assemble, flow_from_environment, run_flow
from freshflow.streaming.monitoring.progress import JobStats
from freshflow.streaming.operators.users import user_operator
from freshflow.streaming.partitioning import partition_key
from freshflow.users.updates import RemoteExample

Json = dict[str, Any]
Freshflow = Callable[..., CompletedProcess[str]]
Read = Callable[[str], list[Json]]
NAMES = ("calm", "bold")
USERS = [f"user-{n}" for n in range(20_000)]


def variants(of_each: int = 1, **bold: Any) -> Variants:
    job = JobConfig(partitions=2 * of_each)
    calm = Config(job=job, variant=VariantConfig(name="calm"))
    return Variants([calm, structs.replace(calm, variant=VariantConfig(name="bold"), **bold)])


# Who is in which


def test_half_of_the_users_are_in_each_and_neither_partition_nor_group_says_in_which():
    second = np.array([variant_of_user(user, NAMES) for user in USERS])
    assert abs(second.mean() - 0.5) < 4 * 0.5 / np.sqrt(len(USERS))
    for modulus in (2, 4, 8, 1000):  # partitions, and groups of users
        classes = np.array([crc32(user.encode()) % modulus for user in USERS])
        of_class = np.bincount(classes, minlength=modulus)
        expected = of_class / 2
        chi_square = ((np.bincount(classes, second, minlength=modulus) - expected) ** 2 / (of_class / 4)).sum()
        assert chi_square < modulus + 4 * np.sqrt(2 * modulus)


def test_other_names_split_users_anew():
    one, other = (np.array([variant_of_user(user, names) for user in USERS]) for names in (NAMES, ("calm", "bolder")))
    assert abs((one == other).mean() - 0.5) < 0.02


def test_the_variant_of_a_user_is_the_same_in_every_version():
    users = ("", "u7", "Zoë", "3891637997717104548", "\udcff")
    assert [variant_of_user(user, NAMES) for user in users] == [1, 1, 0, 1, 0]


@given(st.text(), st.integers(1, 8))
def test_a_user_s_partition_is_one_of_the_variant_s(user: str, of_each: int):
    made = variants(of_each)
    partition = made.partitioner()(user)
    assert made.variant_of_partition(partition) == variant_of_user(user, NAMES)
    assert partition % of_each == partition_of(user, of_each)


def test_a_job_without_variants_places_users_as_ever():
    alone = Variants([Config(job=JobConfig(partitions=4))])
    assert [alone.partitioner()(user) for user in USERS[:50]] == [partition_of(user, 4) for user in USERS[:50]]


# What they share


def test_rankers_learn_from_users_of_their_own_variant_and_item_knowledge_from_all():
    made = variants(2)
    stage = user_operator(made, lambda: 0, StateBackend(is_enabled=True))(None)
    user = next(user for user in USERS if made.partitioner()(user) == 1)
    events = [Interaction(1, "view", user, "i", 1_700_000_000_000)]
    routed, _ = stage.on_batch([EventBatch(1, Origin("file", "f"), 0, list(events), 1)])
    signals = {key: batch.remote_events for key, batch in routed if isinstance(batch, RemoteEventBatch)}
    assert {key: [type(signal) is RemoteExample for signal in several] for key, several in signals.items()} == {
        partition_key(0): [True],
        partition_key(2): [False],
        partition_key(3): [False],
    }


def files(folder: Path, calm: str = "", bold: str = "") -> tuple[Path, Path]:
    (folder / "calm.toml").write_text(calm)
    (folder / "bold.toml").write_text(bold)
    return folder / "calm.toml", folder / "bold.toml"


def refusal(folder: Path, *texts: str, environment: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as refused:
        load_variants(files(folder, *texts), None, environment or {})
    return str(refused.value)


def test_variants_are_named_after_their_files_unless_they_say_so_and_stand_over_what_they_share(tmp_path: Path):
    (tmp_path / "base.toml").write_text("[lists]\nk = 7\n[users]\nmax = 900\n[job]\npartitions = 3\n")
    calm, bold = files(tmp_path, "[lists]\nk = 9", '[variant]\nname = "brave"')
    one, other = load_variants((calm, bold), tmp_path / "base.toml", {"FRESHFLOW_LISTS_CONTRIBUTIONS": "true"}).configs
    assert (one.variant.name, other.variant.name) == ("calm", "brave")
    assert (one.lists.k, other.lists.k) == (9, 7)
    assert all(of.users.max == 900 and of.lists.contributions and of.job.partitions == 6 for of in (one, other))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[job]\nbatch_size = 7", "job.batch_size"),
        ("[users]\nhistory = 50", "users.history"),
        ("[noise]\nevents = 0", "noise.events"),
        ("[events.weights]\nview = 2", "events.weights"),
        ("[kafka]\ntimeout_s = 3", "kafka.timeout_s"),
        ("[ranker]\nbroadcast_examples = 7", "ranker.broadcast_examples"),
    ],
)
def test_what_all_share_must_not_differ(tmp_path: Path, text: str, key: str):
    said = refusal(tmp_path, "", text)
    assert f"{key} is not the same in {tmp_path / 'calm.toml'} and {tmp_path / 'bold.toml'}" in said


def test_no_refusal_shows_a_secret(tmp_path: Path):
    said = refusal(tmp_path, '[kafka.options]\nsasl.password = "hunter1"', '[kafka.options]\nsasl.password = "hunter2"')
    assert "kafka.options" in said and "hunter" not in said


def test_two_of_one_name_and_names_that_are_none_are_refused(tmp_path: Path):
    assert "are both called same" in refusal(tmp_path, *['[variant]\nname = "same"'] * 2)
    assert "variant.name = 'a b' is not allowed: expected at most 32 letters" in refusal(
        tmp_path, '[variant]\nname = "a b"'
    )
    (tmp_path / "a b.toml").write_text("")
    with pytest.raises(ConfigError, match=r"variant.name = 'a b' is not allowed"):
        load_configs([tmp_path / "a b.toml", tmp_path / "calm.toml"], None, {})


def test_more_partitions_than_a_job_may_have_are_refused(tmp_path: Path):
    assert "more than 256 partitions" in refusal(tmp_path, environment={"FRESHFLOW_JOB_PARTITIONS": "129"})


def test_every_section_may_differ_or_is_known():
    assert set(VARIANT_SECTIONS) < set(Config.__struct_fields__)


# A job


def run(folder: Path, made: Variants, name: str, recovery: Path | None = None) -> JobStats:
    progress, config, keeping = JobStats(), made.configs[0], open_state_backend(recovery)
    places = JobUrls(
        str(folder / "events.jsonl"), str(folder / f"{name}.jsonl"), metrics=str(folder / f"{name}.m.jsonl")
    )
    flow = assemble(places, config, progress, lambda: False, clock=lambda: 0, state_backend=keeping, variants=made)
    run_flow(flow, config, recovery)
    return progress


@pytest.fixture
def shop(simulate: Callable[..., Counter[str]]) -> Counter[str]:
    return simulate("events.jsonl", events=1200, users=120, items=60, requests=0.2)


def test_lists_carry_their_user_s_variant_and_the_job_says_how_the_variants_differ(
    tmp_path: Path, shop: Counter[str], read: Read
):
    made = variants(refresh=RefreshConfig(interval_s=0), ranker=RankerConfig(hidden_units=0))
    progress = run(tmp_path, made, "lists")
    lists = read("lists.jsonl")
    assert all(one["variant"] == NAMES[variant_of_user(one["user_id"], NAMES)] for one in lists)
    assert {one["variant"] for one in lists if one["cause"] == "refresh"} == {"calm"}
    assert sum(one["cause"] == "request" for one in lists) == shop["request"]
    reports = read("lists.m.jsonl")
    last = {one["variant"]: one for one in reports if one["kind"] == "partition"}
    compared = [one for one in reports if one["kind"] == "comparison"][-1]
    for name, figures in compared["variants"].items():
        assert figures["events"] == last[name]["counts"]["events"] == last[name]["sums"]["events"] > 300
        for figure in ("hr20", "mrr20", "published_hr20", "published_mrr20"):
            assert figures[figure] == pytest.approx(last[name]["quality"][figure])
    assert compared["difference"]["of"] == "bold - calm"
    apart = compared["difference"]["published_hr20"]
    assert apart["low"] < apart["by"] < apart["high"]
    assert progress.total_count("events") == sum(one["events"] for one in compared["variants"].values())


def test_item_knowledge_is_complete_in_both_and_two_of_the_same_are_all_but_the_same(
    tmp_path: Path, shop: Counter[str], read: Read
):
    run(tmp_path, variants(), "same")
    last = {one["variant"]: one for one in read("same.m.jsonl") if one["kind"] == "partition"}
    assert last["calm"]["counts"]["items"] == last["bold"]["counts"]["items"] == 60
    apart = [one for one in read("same.m.jsonl") if one["kind"] == "comparison"][-1]["difference"]["hr20"]
    assert apart["low"] < 0 < apart["high"]


def test_a_job_without_variants_writes_the_word_nowhere(tmp_path: Path, shop: Counter[str]):
    run(tmp_path, Variants([Config(users=UsersConfig(max=500))]), "plain")
    for name in ("plain.jsonl", "plain.m.jsonl"):
        assert b'"variant"' not in (tmp_path / name).read_bytes()


def test_a_replay_gives_the_same_bytes(tmp_path: Path, shop: Counter[str]):
    made = variants(ranker=RankerConfig(hidden_units=0))
    for name in ("one", "two"):
        run(tmp_path, made, name)
    for end in ("jsonl", "m.jsonl"):
        assert (tmp_path / f"one.{end}").read_bytes() == (tmp_path / f"two.{end}").read_bytes()


def test_stopped_and_resumed_in_two_processes_it_ends_as_it_would_have_and_other_variants_are_refused(
    tmp_path: Path, shop: Counter[str], freshflow: Freshflow, read: Read
):
    split = load_variants(files(tmp_path, "", "[ranker]\nhidden_units = 0"), None, {"FRESHFLOW_JOB_PARTITIONS": "2"})
    run(tmp_path, split, "calm")
    events, state = tmp_path / "events.jsonl", tmp_path / "state"
    lines = events.read_bytes().splitlines(keepends=True)
    events.write_bytes(b"".join(lines[: len(lines) // 2]))
    with lock_recovery_dir(state, split.split_settings()):
        run(tmp_path, split, "told", recovery=state)
    events.write_bytes(b"".join(lines))
    others = [
        Variants(split.configs[::-1]),
        Variants([structs.replace(split.configs[0], variant=VariantConfig())]),
    ]
    for other in others:
        with (
            pytest.raises(SnapshotError, match=r"written with variants = \['calm', 'bold'\]"),
            lock_recovery_dir(state, other.split_settings()),
        ):
            pass
    outputs = ("--input", events, "--output", tmp_path / "told.jsonl", "--recovery", state)
    outputs += ("--metrics", tmp_path / "told.m.jsonl")
    two = ("--partitions", "2", "--processes", "2", "--variants", "calm.toml", "bold.toml")
    done = freshflow("run", *outputs, *two)
    assert done.returncode == 0, done.stderr
    assert "second - first" in done.stderr
    calm, told = (comparisons(read(f"{name}.m.jsonl"))[-1]["variants"] for name in ("calm", "told"))
    for name in NAMES:
        assert told[name]["events"] == calm[name]["events"]
        assert told[name]["hr20"] == pytest.approx(calm[name]["hr20"], abs=0.05)


def comparisons(reports: list[Json]) -> list[Json]:
    return [one for one in reports if one["kind"] == "comparison"]


def test_under_bytewax_s_own_command_variants_stand_in_the_environment(
    tmp_path: Path, shop: Counter[str], read: Read, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(StopFlag, "install", lambda self: None)
    names = {"INPUT": tmp_path / "events.jsonl", "OUTPUT": tmp_path / "lists.jsonl"}
    names["VARIANTS"] = ":".join(map(str, files(tmp_path)))
    flow = flow_from_environment({f"FRESHFLOW_{name}": str(value) for name, value in names.items()})
    run_flow(flow, Config(), None)
    assert {one["variant"] for one in read("lists.jsonl")} == set(NAMES)


# Over a file


def evaluate(folder: Path, *options: object) -> Result:
    arguments = ["evaluate", folder / "events.jsonl", *options]
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)


def test_an_evaluation_asks_both_for_every_event(tmp_path: Path, simulate: Callable[..., Counter[str]]):
    simulate("events.jsonl", events=800, users=120, items=60)
    calm, bold = files(tmp_path, "", "[ranking]\ncandidates = 10\npopular = 0\nopening = 0\npopular_recent = 0")
    assert evaluate(tmp_path, "--variants", calm, bold, "--json", tmp_path / "paired.json").exit_code == 0
    assert evaluate(tmp_path, "--config", bold, "--json", tmp_path / "alone.json").exit_code == 0
    paired, alone = (json.loads((tmp_path / name).read_bytes()) for name in ("paired.json", "alone.json"))
    assert {kind: alone["job"][kind] for kind in ("all", "new", "published")} == paired["variants"]["bold"]
    of_calm, of_bold, apart = (*paired["variants"].values(), paired["difference"]["all"]["hr20"])
    assert apart["by"] == pytest.approx(of_bold["all"]["hr20"] - of_calm["all"]["hr20"])
    assert apart["low"] < apart["by"] < apart["high"] < 0


def test_an_evaluation_of_variants_has_no_baselines(tmp_path: Path, simulate: Callable[..., Counter[str]]):
    simulate("events.jsonl", events=10)
    with pytest.raises(ConfigError, match="--variants cannot be combined with --baselines or --plot"):
        evaluate(tmp_path, "--variants", *files(tmp_path), "--baselines")
