"""Guests in whole jobs: with several partitions, as two processes, killed in the middle, and forgotten."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess, Popen
from typing import Any

import pytest

from freshflow.config.schema import JobConfig, UsersConfig
from freshflow.streaming.job import JobUrls
from freshflow.streaming.monitoring.progress import JobStats

Json = dict[str, Any]
Finished = CompletedProcess[str]
Freshflow = Callable[..., Finished]
Read = Callable[[str], list[Json]]

START_MS, MINUTE_MS = 1_750_000_000_000, 60_000
GUESTS = UsersConfig(guests=True)


def line(n: int, type_: str, **fields: Any) -> bytes:
    return json.dumps({"type": type_, "ts": START_MS + n * MINUTE_MS // 4, **fields}).encode() + b"\n"


def shop(count: int) -> bytes:
    """A shop where user `u<n>` is guest `s<n>` first, views 4 items, is identified, and views 2 more."""
    events = []
    for n in range(count):
        who, step = n // 8 * 3 % 41, n % 8
        item = f"i{(who * 7 + step * 3) % 40}"
        if step < 4:
            events.append(line(n, "view", session_id=f"s{n // 8}", item_id=item))
        elif step == 4:
            events.append(line(n, "identify", session_id=f"s{n // 8}", user_id=f"u{who}"))
        elif step == 5:
            events.append(line(n, "request", session_id=f"s{n // 8}", request_id=f"r{n}", k=200))
        else:
            owner = {"user_id": f"u{who}"} if step == 6 else {"session_id": f"s{n // 8}"}
            events.append(line(n, "view", item_id=item, **owner))
    return b"".join(events)


def timeless(records: list[Json]) -> list[Json]:
    return [{k: v for k, v in record.items() if k != "computed_at"} for record in records]


def by_owner(lists: list[Json]) -> dict[str, list[Json]]:
    owners: dict[str, list[Json]] = {}
    for one in lists:
        owners.setdefault(one["key"] if "key" in one else one["user_id"], []).append(one)
    return owners


def answered(lists: list[Json]) -> dict[str, list[list[Any]]]:
    """The answers, the lists of who was identified and the tombstones of everybody, by where they come from."""
    owners = by_owner([one for one in lists if one.get("cause") not in ("interaction", "refresh")])
    what = ("cause", "source", "request_id", "key")
    return {owner: [[one.get(name) for name in what] for one in several] for owner, several in owners.items()}


@pytest.fixture
def job(tmp_path: Path, run_here: Callable[..., JobStats], read: Read) -> Callable[..., list[Json]]:
    """The lists of a job over `content`, run in this process."""

    def job(content: bytes, partitions: int = 1, batch_size: int = 16, **sections: Any) -> list[Json]:
        (tmp_path / "events.jsonl").write_bytes(content)
        settings = JobConfig(partitions=partitions, batch_size=batch_size)
        run_here(JobUrls("events.jsonl", "here.jsonl"), job=settings, users=GUESTS, **sections)
        return timeless(read("here.jsonl"))

    return job


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_guest_becomes_a_user_whose_list_has_both_histories(job: Callable[..., list[Json]], partitions: int) -> None:
    lists = by_owner(job(shop(400), partitions))
    for n in range(50):
        user, guest = lists[f"u{n * 3 % 41}"], lists[f"guest:s{n}"]
        *shown, gone = guest
        assert gone == {"key": f"guest:s{n}", "value": None}
        assert {one["cause"] for one in shown} <= {"interaction", "refresh"}
        (joined,) = (one for one in user if one["cause"] == "identify" and one["source"]["line"] == n * 8 + 5)
        assert joined["event_ts"] == START_MS + (n * 8 + 4) * MINUTE_MS // 4
        (answer,) = (one for one in user if one.get("request_id") == f"r{n * 8 + 5}")
        seen = {f"i{(n * 3 % 41 * 7 + step * 3) % 40}" for step in range(4)}
        assert seen <= {item["item_id"] for item in answer["items"]}
    first = by_owner(job(shop(8), partitions))
    assert [one["cause"] for one in first["u0"]] == ["identify", "request", "interaction", "interaction"]


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_stream_of_guests_gives_the_same_bytes_again_and_in_other_batches(
    job: Callable[..., list[Json]], partitions: int
) -> None:
    content = shop(400)
    assert job(content, partitions) == job(content, partitions)
    alike = by_owner(job(content, partitions, batch_size=1))
    assert by_owner(job(content, partitions, batch_size=400)).keys() == alike.keys()
    if partitions == 1:
        assert by_owner(job(content, batch_size=400)) == alike


def test_a_stream_without_guests_gives_the_same_lists_whether_they_are_known_or_not(
    simulate: Callable[..., Any], run_here: Callable[..., JobStats], read: Read
) -> None:
    simulate("shop.jsonl", events=600, users=40, items=60, requests=0.2)
    for partitions in (1, 3):
        settings = JobConfig(partitions=partitions, batch_size=32)
        for name, users in (("with.jsonl", GUESTS), ("without.jsonl", UsersConfig())):
            run_here(JobUrls("shop.jsonl", name), job=settings, users=users)
        known, unknown = (timeless(read(name)) for name in ("with.jsonl", "without.jsonl"))
        if partitions == 1:
            assert known == unknown
        # With several, signals of others may be taken in somewhat later.
        assert answered(known) == answered(unknown)


def test_a_guest_is_learned_from_once(
    job: Callable[..., list[Json]], run_here: Callable[..., JobStats], read: Read
) -> None:
    job(shop(400))
    progress = run_here(JobUrls("events.jsonl", "here.jsonl", metrics="m.jsonl"), users=GUESTS)
    assert progress.total_count("events") == 300
    assert progress.total_count("guests_joined") == 50


RUN = ["run", "--input", "events.jsonl", "--output", "lists.jsonl", "--metrics", "metrics.jsonl", "--recovery", "state"]


def test_two_processes_hand_guests_over_to_each_other(freshflow: Freshflow, read: Read) -> None:
    Path("events.jsonl").write_bytes(shop(240))
    done = freshflow(*RUN, "--processes", 2, users_guests="true", refresh_interval_s=0)
    assert done.returncode == 0, done.stderr
    two, joined = asked(read("lists.jsonl")), guests_joined(read("metrics.jsonl"))
    again = freshflow(*RUN[:7], "--partitions", 2, users_guests="true", refresh_interval_s=0)
    assert again.returncode == 0, again.stderr
    assert asked(read("lists.jsonl")) == two
    assert joined == guests_joined(read("metrics.jsonl")) == 30


def asked(lists: list[Json]) -> dict[str, list[list[Any]]]:
    """What was answered but for lists of who was identified: whether these changed is a matter of moments."""
    return {
        owner: kept
        for owner, several in answered(lists).items()
        if (kept := [one for one in several if one[0] != "identify"])
    }


def guests_joined(reports: list[Json]) -> int:
    """Over all partitions, as they reported last."""
    latest = {report["partition"]: report["counts"] for report in reports}
    return sum(counts.get("guests_joined", 0) for counts in latest.values())


@pytest.mark.parametrize("cut", [3, 4], ids=["before identify", "after identify"])
def test_a_job_that_stops_between_a_guests_events_and_identify_goes_on_as_if_it_had_not(
    cut: int, job: Callable[..., list[Json]], run_here: Callable[..., JobStats], read: Read
) -> None:
    content = shop(160)
    whole = job(content, partitions=3)
    lines = content.splitlines(keepends=True)
    settings = JobConfig(partitions=3, batch_size=16)
    for end in (80 + cut, len(lines)):
        Path("part.jsonl").write_bytes(b"".join(lines[:end]))
        run_here(JobUrls("part.jsonl", "lists.jsonl"), recovery=Path("state"), job=settings, users=GUESTS)
    resumed = json.loads(json.dumps(timeless(read("lists.jsonl"))).replace("part.jsonl", "events.jsonl"))
    without = ("list_id",)  # which is made of the name of the file
    assert by_owner([{k: v for k, v in one.items() if k not in without} for one in resumed]) == by_owner(
        [{k: v for k, v in one.items() if k not in without} for one in whole]
    )


def test_a_job_that_is_killed_loses_no_guest_on_the_way(
    start: Callable[..., Popen[str]],
    stop_at: Callable[..., Finished],
    job: Callable[..., list[Json]],
    run_here: Callable[..., JobStats],
    read: Read,
) -> None:
    whole = job(shop(2400), partitions=3, batch_size=8)
    places = ["--input", "events.jsonl", "--output", "lists.jsonl", "--recovery", "state"]
    options = {"users_guests": "true", "job_epoch_s": 0.05}
    running = start("freshflow.cli.main", "run", *places, "--batch-size", 8, "--partitions", 3, **options)
    killed = stop_at(running, signal.SIGKILL, Path("lists.jsonl"), 1_000_000)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    settings = JobConfig(partitions=3, batch_size=8)
    run_here(JobUrls("events.jsonl", "lists.jsonl"), recovery=Path("state"), job=settings, users=GUESTS)
    assert timeless(read("lists.jsonl")) == whole


WHO, VISIT = "zz-visitor@example.org", "zz-visit-4711"


def holding(folder: Path) -> list[str]:
    """The names of files in a folder that hold the id of the user or of the session."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path.name for path in files if any(id_.encode() in path.read_bytes() for id_ in (WHO, VISIT))]


@pytest.mark.parametrize("cut", [("--partitions", 3), ("--processes", 2)], ids=str)
@pytest.mark.parametrize("told", [(WHO,), (VISIT, "--guest")], ids=["user", "guest"])
def test_a_forgotten_user_is_nowhere_nor_is_who_they_were_as_a_guest(
    told: tuple[str, ...], cut: tuple[object, ...], freshflow: Freshflow, read: Read
) -> None:
    events = Path("events.jsonl")
    visit = [line(400 + n, "view", session_id=VISIT, item_id=f"i{n}") for n in range(3)]
    if told == (WHO,):
        visit += [
            line(404, "identify", session_id=VISIT, user_id=WHO),
            line(405, "view", session_id=VISIT, item_id="i7"),
        ]
    events.write_bytes(shop(200) + b"".join(visit))
    assert freshflow(*RUN, *cut, users_guests="true").returncode == 0
    assert holding(Path("state"))
    assert freshflow("forget", *told, "--input", "events.jsonl").returncode == 0
    with events.open("ab") as file:
        file.write(shop(48))
    done = freshflow(*RUN, *cut, users_guests="true")
    assert done.returncode == 0, done.stderr
    assert holding(Path("state")) == []
    key = WHO if told == (WHO,) else f"guest:{VISIT}"
    assert read("lists.jsonl").count({"key": key, "value": None}) == 1
    receipts = [one for one in read("metrics.jsonl") if one["kind"] == "forget"]
    assert [(one["known"], one["forgotten"]) for one in receipts] == [(True, 1)]


def test_a_guest_who_was_never_seen_is_answered_with_what_is_popular(job: Callable[..., list[Json]]) -> None:
    lists = job(shop(400) + line(400, "request", session_id="new", request_id="r", k=5))
    (answer,) = (one for one in lists if one.get("request_id") == "r")
    assert (answer["user_id"], answer["cause"]) == ("guest:new", "request")
    assert [item["reason"] for item in answer["items"]] == 5 * ["popular"]


def test_the_first_event_of_a_new_user_gives_a_list_at_once_and_it_has_the_company_of_its_item(
    job: Callable[..., list[Json]],
) -> None:
    lists = job(shop(400) + line(400, "view", user_id="new", item_id="i0"))
    (first,) = (one for one in lists if one.get("user_id") == "new" and one["cause"] == "interaction")
    assert len(first["items"]) == 20
    assert any(item["because"] == ["i0"] for item in first["items"])
