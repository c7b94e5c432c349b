"""A partition's report as the metrics sink gets it."""

import json

from freshflow.metrics.report import Receipt, Report, encode_receipt, encode_report


def test_a_report_says_its_kind_its_partition_and_both_times():
    key, value = encode_report(Report(3, 1_700, {"events": 5}, {"hr20": 0.25}), 1_900)
    assert key is None
    assert b"\n" not in value
    assert json.loads(value) == {
        "kind": "partition",
        "partition": 3,
        "event_ts": 1_700,
        "computed_at": 1_900,
        "counts": {"events": 5},
        "quality": {"hr20": 0.25},
    }


def test_a_receipt_says_where_the_forget_event_stands_and_not_whom_it_names():
    source = {"topic": "events", "partition": 3, "offset": 12}
    key, value = encode_receipt(Receipt(3, 1_700, source, known=True, forgotten=9), 1_900)
    assert key is None
    assert json.loads(value) == {
        "kind": "forget",
        "partition": 3,
        "event_ts": 1_700,
        "computed_at": 1_900,
        "source": source,
        "known": True,
        "forgotten": 9,
    }
