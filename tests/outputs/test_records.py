"""The wire format of lists and tombstones."""

import json

import msgspec

from freshflow.outputs.records import ListDeletion, ListItem, Model, RecommendationList, encode, encode_all

LIST = RecommendationList(
    user_id="Zoë",
    list_id="00ff",
    surface="feed",
    cause="interaction",
    event_ts=1_700,
    computed_at=1_900,
    source={"file": "events.jsonl", "line": 7},
    model=Model(0, 12),
    items=(ListItem("a", 0.5, "together", ("b",)), ListItem("c", 0.0, "popular", ())),
)


def test_a_list_is_one_line_of_json_keyed_by_its_user():
    key, value = encode(LIST)
    assert key == "Zoë".encode()
    assert b"\n" not in value
    assert json.loads(value) == {
        "user_id": "Zoë",
        "list_id": "00ff",
        "surface": "feed",
        "cause": "interaction",
        "event_ts": 1_700,
        "computed_at": 1_900,
        "source": {"file": "events.jsonl", "line": 7},
        "model": {"partition": 0, "updates": 12},
        "items": [
            {"item_id": "a", "score": 0.5, "reason": "together", "because": ["b"]},
            {"item_id": "c", "score": 0.0, "reason": "popular", "because": []},
        ],
    }


def test_an_answer_carries_its_request_id_and_an_explained_item_its_contributions():
    item = ListItem("a", 0.5, "popular", (), {"hour": 0.5})
    answer = RecommendationList("u", "1", "search", "search", 1, 2, {"line": 1}, Model(0, 0), (item,), request_id="r")
    fields = json.loads(encode(answer)[1])
    assert fields["request_id"] == "r"
    assert fields["items"][0]["contributions"] == {"hour": 0.5}


def test_a_forgotten_user_s_record_is_a_tombstone():
    assert encode(ListDeletion("u")) == (b"u", None)


def test_all_at_once_are_encoded_as_one_by_one():
    looks = [{"file": "events.jsonl", "line": line} for line in (7, 8)]
    users = ["Zoë", 'a "quoted" user', "", "u\n", "u\x00", "👩‍👩‍👧"]
    refreshed = [
        msgspec.structs.replace(LIST, user_id=user, list_id=f"{n:04x}", cause="refresh", source=source, items=items)
        for source in looks
        for n, user in enumerate(users)
        for items in (msgspec.Raw(b"[]"), msgspec.Raw(b'[{"item_id":"a"}]'))
    ]
    answer = msgspec.structs.replace(LIST, cause="request", items=msgspec.Raw(b"[]"), request_id="r")
    mixed = [*refreshed[:5], answer, ListDeletion("u"), *refreshed[5:], answer, *refreshed[:2]]
    assert encode_all(mixed) == [encode(one) for one in mixed]
