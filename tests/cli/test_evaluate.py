"""`freshflow evaluate`: its figures against those scored from a job's output, what it says, and how it fails."""

import gzip
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from freshflow.cli.main import app
from freshflow.config.schema import Config, JobConfig
from freshflow.evaluation.baselines.built_in import create_baselines
from freshflow.evaluation.event_stream import EvaluationStream
from freshflow.evaluation.replay import evaluate_baselines, evaluate_job
from freshflow.evaluation.scores import SCORE_KINDS, Scores
from freshflow.simulator.config import ShopConfig
from freshflow.simulator.write import shop_lines, write_lines
from freshflow.streaming.job import JobUrls
from freshflow.streaming.monitoring.progress import JobStats

Json = dict[str, Any]
EVENTS = 1_500
FIGURES = {"events", "hr10", "hr20", "mrr20", "ndcg20"}
START = 1_750_000_000


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated shop without noise."""
    path = tmp_path_factory.mktemp("shop") / "events.jsonl"
    write_lines(shop_lines(ShopConfig(events=EVENTS, users=120, items=120, dirty=False)), str(path))
    return path


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)], env={"COLUMNS": "80"}, catch_exceptions=False)


def report_of(path: Path, *options: object) -> Json:
    written = path.with_suffix(".report.json")
    done = evaluate(path, "--json", written, *options)
    assert done.exit_code == 0
    return json.loads(written.read_bytes())


def write_views(path: Path, *visits: tuple[str, str]) -> Path:
    """A view a line, a minute apart."""
    views = [
        {"type": "view", "user_id": user, "item_id": item, "ts": START + 60 * n}
        for n, (user, item) in enumerate(visits)
    ]
    path.write_text("".join(json.dumps(view) + "\n" for view in views))
    return path


def score_from_outside(source: Path, folder: Path, run_here: Callable[..., JobStats], partitions: int) -> Json:
    """HR@20 and MRR@20 of a job's answers to a request before each event, and of what it pushed before it."""
    asked: list[Json] = []
    for line in source.read_text().splitlines():
        event = json.loads(line)
        if "user_id" in event and "item_id" in event:
            ask = {"type": "request", "user_id": event["user_id"], "ts": event["ts"], "k": 100}
            asked.append({**ask, "request_id": f"before-{len(asked) + 2}"})
        asked.append(event)
    (folder / "asked.jsonl").write_text("".join(json.dumps(one) + "\n" for one in asked))
    run_here(JobUrls(str(folder / "asked.jsonl"), str(folder / "lists.jsonl")), job=JobConfig(partitions=partitions))
    answers: dict[str, list[str]] = {}
    pushed: dict[int, Json] = {}
    for one in map(json.loads, (folder / "lists.jsonl").read_bytes().splitlines()):
        if "request_id" in one:
            answers[one["request_id"]] = [item["item_id"] for item in one["items"]]
        elif one["cause"] == "interaction":
            pushed[one["source"]["line"]] = one

    ranks: dict[str, list[int]] = {"all": [], "new": [], "published": []}
    seen: dict[str, set[str]] = {}
    last: dict[str, list[str]] = {}
    for line, event in enumerate(asked, start=1):
        if "item_id" not in event or "user_id" not in event:
            continue
        user, item = event["user_id"], event["item_id"]
        mine, items = seen.setdefault(user, set()), answers[f"before-{line}"]
        ranks["all"].append(place(item, items))
        if item not in mine:
            ranks["new"].append(place(item, [other for other in items if other not in mine]))
        ranks["published"].append(place(item, last.get(user, [])))
        mine.add(item)
        if line in pushed:
            last[user] = [one["item_id"] for one in pushed[line]["items"]]
    return {kind: means(found) for kind, found in ranks.items()}


def place(item: str, items: list[str]) -> int:
    return items.index(item) + 1 if item in items[:20] else 0


def means(ranks: list[int]) -> Json:
    hits = [rank for rank in ranks if rank]
    return {"events": len(ranks), "hr20": len(hits) / len(ranks), "mrr20": sum(1 / rank for rank in hits) / len(ranks)}


@pytest.mark.parametrize("partitions", [1, 3])
def test_figures_agree_with_those_scored_from_a_jobs_output(
    partitions: int, shop: Path, tmp_path: Path, run_here: Callable[..., JobStats]
) -> None:
    outside = score_from_outside(shop, tmp_path, run_here, partitions)
    inside = report_of(shop, "--partitions", partitions)["job"]
    for kind, figures in outside.items():
        assert inside[kind]["events"] == figures["events"]
        assert inside[kind]["hr20"] == pytest.approx(figures["hr20"], abs=0.005)
        assert inside[kind]["mrr20"] == pytest.approx(figures["mrr20"], abs=0.005)
        assert figures["hr20"] > 0.1


def test_the_report_holds_all_figures(shop: Path) -> None:
    report = report_of(shop, "--baselines", "--limit", 400)
    assert report.keys() == {
        *("input", "events", "scored", "duplicates", "not_learned", "rejected", "passed_over", "users", "items"),
        *("partitions", "peak_memory_mb", "job", "baselines", "searches", "refusals"),
    }
    assert (report["events"], report["scored"], report["rejected"]) == (400, 400, {})
    assert report["peak_memory_mb"] > 10
    assert report["baselines"].keys() == create_baselines().keys()
    for name, quality in {"job": report["job"], **report["baselines"]}.items():
        kinds = {"all", "new", "published"} if name == "job" else {"all", "new"}
        assert quality.keys() == {*SCORE_KINDS, "coverage", "events_per_second", "tenths"}
        assert quality["tenths"].keys() == kinds
        for kind in kinds:
            assert quality[kind].keys() == FIGURES
            assert sum(tenth["events"] for tenth in quality["tenths"][kind]) == quality[kind]["events"]
        assert quality["all"]["events"] == 400
        assert quality["cold_users"]["events"] == report["users"]
        assert quality["cold_items"]["events"] == report["items"]
        assert 0 < quality["coverage"] <= 1
        assert quality["events_per_second"] > 0
    assert report["baselines"]["own recent items"]["new"]["hr20"] == 0


def test_the_table_fits_80_columns_and_names_everything(shop: Path) -> None:
    done = evaluate(shop, "--baselines", "--limit", 300)
    assert max(map(len, done.stdout.splitlines())) <= 80
    for word in ("HR@10", "HR@20", "MRR@20", "NDCG@20", "published", "coverage", "peak memory", *create_baselines()):
        assert word in done.stdout


def test_one_event_in_n_is_scored_and_all_are_learned(shop: Path) -> None:
    every, third = report_of(shop, "--limit", 300), report_of(shop, "--limit", 300, "--every", 3)
    assert (third["events"], third["scored"]) == (300, 100)
    assert (third["users"], third["items"]) == (every["users"], every["items"])


def test_the_limit_counts_events_and_ends_reading_there(shop: Path) -> None:
    assert report_of(shop, "--limit", 7)["events"] == 7
    assert report_of(shop)["events"] == EVENTS


@pytest.mark.parametrize("name", ["events.csv", "events.csv.gz", "events.jsonl.gz"])
def test_other_formats_give_the_same_figures(name: str, tmp_path: Path) -> None:
    visits = [(f"u{n * n % 5}", f"i{n * 3 % 7}") for n in range(60)]
    plain = write_views(tmp_path / "plain.jsonl", *visits)
    if ".csv" in name:
        rows = [f"view,{user},{item},{START + 60 * n}" for n, (user, item) in enumerate(visits)]
        content = "\n".join(["type,user_id,item_id,ts", *rows]).encode()
    else:
        content = plain.read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert report_of(tmp_path / name)["job"]["tenths"] == report_of(plain)["job"]["tenths"]


def test_what_is_refused_or_comes_twice_is_counted(tmp_path: Path) -> None:
    path = write_views(tmp_path / "events.jsonl", ("u", "a"), ("u", "b"))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[0], "no event", "{}", lines[1]]))
    report = report_of(path)
    assert report["rejected"] == {"not_json": 1, "missing_field": 1}
    assert (report["events"], report["duplicates"], report["scored"]) == (3, 1, 3)
    assert report["refusals"]["missing_field"] == "line 4: type is missing or empty: every event requires it."
    assert re.search(r"missing_field +1  line 4: type is missing", evaluate(path).stdout)


def test_figures_of_a_stream_made_by_hand(tmp_path: Path) -> None:
    """u: a b a, then v: a b. What is popular or one's own is listed, what has never been met cannot be."""
    report = report_of(write_views(tmp_path / "e.jsonl", *[("u", "a"), ("u", "b"), ("u", "a"), ("v", "a"), ("v", "b")]))
    job = report["job"]
    assert (job["all"]["events"], job["all"]["hr20"]) == (5, 3 / 5)
    assert (job["new"]["events"], job["new"]["hr20"]) == (4, 2 / 4)
    assert (job["cold_users"]["events"], job["cold_users"]["hr20"]) == (2, 1 / 2)
    assert (job["cold_items"]["events"], job["cold_items"]["hr20"]) == (2, 0)
    assert job["published"]["hr20"] == 2 / 5  # v had no list before its first event
    assert job["coverage"] == 1


def test_an_item_is_in_its_first_day_from_when_it_is_heard_of_but_not_on_the_first_day_of_all(tmp_path: Path) -> None:
    hour, lines = 3600, []
    for hours, event in (
        (0, {"type": "view", "user_id": "u", "item_id": "old"}),
        (1, {"type": "view", "user_id": "v", "item_id": "old"}),  # on the first day of all
        (30, {"type": "item", "item_id": "launched"}),
        (40, {"type": "view", "user_id": "u", "item_id": "launched"}),
        (41, {"type": "view", "user_id": "u", "item_id": "unheard of"}),
        (42, {"type": "view", "user_id": "v", "item_id": "unheard of"}),
        (53, {"type": "view", "user_id": "w", "item_id": "launched"}),
        (54, {"type": "view", "user_id": "w", "item_id": "launched"}),  # a day after
    ):
        lines.append(json.dumps(event | {"ts": START + hour * hours}) + "\n")
    path = tmp_path / "e.jsonl"
    path.write_text("".join(lines))
    figures = report_of(path)["job"]["launches"]
    assert (figures["events"], figures["hr20"]) == (4, 2 / 4)


def test_a_forgotten_user_is_a_new_one(tmp_path: Path) -> None:
    path = write_views(tmp_path / "e.jsonl", ("u", "a"), ("u", "b"), ("u", "a"))
    lines = path.read_text().splitlines()
    forget = json.dumps({"type": "forget", "user_id": "u", "ts": START + 100})
    path.write_text("\n".join([*lines[:2], forget, lines[2]]))
    job = report_of(path)["job"]
    assert (job["cold_users"]["events"], job["new"]["events"]) == (2, 3)


@pytest.mark.parametrize("partitions", [1, 2])
def test_no_list_knows_what_comes_after_it(partitions: int, shop: Path, tmp_path: Path) -> None:
    """Cut the stream anywhere: everything scored up to there stays as it was."""
    config = Config(job=JobConfig(partitions=partitions))
    whole = ranks_of(shop, config)
    lines = shop.read_text().splitlines()
    for cut in (200, 311, 700):
        part = tmp_path / f"{cut}.jsonl"
        part.write_text("\n".join(lines[:cut]))
        for name, found in ranks_of(part, config).items():
            for kind in SCORE_KINDS:
                assert len(found.ranks[kind]) > 50
                assert whole[name].ranks[kind].startswith(found.ranks[kind]), (name, kind, cut)


def ranks_of(path: Path, config: Config) -> dict[str, Scores]:
    stream = EvaluationStream(str(path), config, max_events=800)
    others = evaluate_baselines(stream, create_baselines(), lambda: 0.0)
    return {"job": evaluate_job(stream, lambda: 0.0).scores} | {name: one.scores for name, one in others.items()}


def test_the_plot_draws_a_line_for_each_within_its_frame(shop: Path, tmp_path: Path) -> None:
    evaluate(shop, "--baselines", "--plot", tmp_path / "plot.svg")
    content = (tmp_path / "plot.svg").read_text()
    root = ElementTree.fromstring(content)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    lines = [one for one in root.iter() if one.tag.endswith("polyline")]
    assert len(lines) == 2 * (1 + len(create_baselines()))
    for line in lines:
        points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
        assert len(points) == EVENTS // 250
        assert all(0 <= x <= width and 0 <= y <= height for x, y in points)
    texts = {one.text for one in root.iter() if one.tag.endswith("text")}
    assert {"FreshFlow", *create_baselines()} <= texts
    assert "prefers-color-scheme: dark" in content


@pytest.mark.parametrize("content", ["", "\n\n", "no event\n"])
def test_a_file_without_events_is_evaluated_to_nothing(content: str, tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_text(content)
    done = evaluate(tmp_path / "e.jsonl", "--baselines", "--plot", tmp_path / "p.svg", "--json", tmp_path / "r.json")
    assert done.exit_code == 0
    assert json.loads((tmp_path / "r.json").read_bytes())["job"]["all"]["events"] == 0
    ElementTree.fromstring((tmp_path / "p.svg").read_text())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nope.jsonl"], r"The input nope\.jsonl does not exist\."),
        (["-"], r"The input - is not a file; an evaluation reads from a file: give a path\."),
        (["kafka://localhost/t"], r"The input kafka://localhost/t is not a file; .*"),
        (["e.txt"], r"The format of the input e\.txt is not known from its name: .*"),
        (["e.jsonl", "--json", "no/r.json"], r"The folder of the output no/r\.json does not exist; create it first\."),
        (["e.jsonl", "--json", "full.json"], r"The output full\.json cannot be written: No space left on device\."),
        (["e.jsonl", "--plot", "plot.jpg"], r"The plot plot\.jpg must end in \.svg\."),
        (["e.jsonl", "--plot", "e.jsonl"], r"INPUT and --plot both name e\.jsonl; give each a place of its own\."),
        (["e.jsonl", "--config", "no.toml"], r"The configuration file no\.toml does not exist; .*"),
    ],
)
def test_a_failure_is_told_in_one_sentence(
    arguments: list[str], sentence: str, tmp_path: Path, freshflow: Callable[..., CompletedProcess[str]]
) -> None:
    write_views(tmp_path / "e.jsonl", ("u", "a"))
    shutil.copy(tmp_path / "e.jsonl", tmp_path / "e.txt")
    (tmp_path / "full.json").symlink_to("/dev/full")
    done = freshflow("evaluate", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(f"freshflow: {sentence}\n", done.stderr), done.stderr


def test_help_names_every_option() -> None:
    done = evaluate("--help")
    assert done.exit_code == 0
    for option in ("--baselines", "--json", "--plot", "--limit", "--every", "--partitions", "--config"):
        assert option in done.stdout


@pytest.mark.parametrize("partitions", [1, 3])
def test_searches_are_scored_beside_the_engine_s_order(tmp_path, partitions):
    path = tmp_path / "searches.jsonl"
    write_lines(shop_lines(ShopConfig(events=2_500, users=100, items=200, searches=0.5, dirty=False)), str(path))
    written = tmp_path / "report.json"
    done = evaluate(path, "--json", written, "--every", 50, "--partitions", partitions)
    searches = json.loads(written.read_bytes())["searches"]
    assert searches["chosen"] > 500
    assert searches["mrr20"] > 1.15 * searches["engine_mrr20"]
    assert f"MRR@20 {searches['mrr20']:.3f}, in the engine's order {searches['engine_mrr20']:.3f}" in done.output


def test_a_stream_without_searches_has_no_figure_of_them(shop):
    assert report_of(shop, "--limit", 100)["searches"] is None
