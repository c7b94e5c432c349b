import pytest

from freshflow.events.timestamps import EARLIEST_MS, LATEST_MS, parse_epoch_ms

NOON_MS = 1_714_564_800_000  # 2024-05-01 12:00 UTC


@pytest.mark.parametrize(
    "spelling",
    [
        "2024-05-01T12:00:00Z",
        "2024-05-01T12:00:00+00:00",
        "2024-05-01T14:00:00+02:00",
        "2024-05-01T14:00:00+0200",
        "2024-05-01 12:00:00.000Z",
        "2024-05-01T12:00Z",
        "20240501T120000Z",
        1714564800,
        1714564800.0,
        1714564800000,
        1714564800000.0,
        1.7145648e9,
        "1714564800",
        "1714564800000",
        " 1714564800.0 ",
    ],
)
def test_every_spelling_of_one_instant_gives_the_same_milliseconds(spelling):
    assert parse_epoch_ms(spelling) == NOON_MS


@pytest.mark.parametrize("spelling", ["2024-05-01T12:00:00.1235Z", 1714564800.1235, "1714564800.1235"])
def test_fractions_of_a_millisecond_round_alike_in_iso_and_in_seconds(spelling):
    assert parse_epoch_ms(spelling) - NOON_MS in (123, 124)
    assert parse_epoch_ms(spelling) == parse_epoch_ms(1714564800.1235)


def test_numbers_below_1e11_are_seconds_and_from_there_on_milliseconds():
    assert parse_epoch_ms(7_000_000_000) == 7_000_000_000_000
    with pytest.raises(ValueError, match="outside the years 1990 to 2199"):
        parse_epoch_ms(99_999_999_999)  # the year 5138 in seconds
    with pytest.raises(ValueError, match="outside the years 1990 to 2199"):
        parse_epoch_ms(100_000_000_000)  # March 1973 in milliseconds


def test_the_first_millisecond_of_1990_is_allowed_and_the_one_before_is_not():
    assert parse_epoch_ms("1990-01-01T00:00:00Z") == EARLIEST_MS
    with pytest.raises(ValueError, match="outside the years"):
        parse_epoch_ms("1989-12-31T23:59:59.999Z")


def test_the_last_millisecond_of_2199_is_allowed_and_the_one_after_is_not():
    assert parse_epoch_ms("2199-12-31T23:59:59.999Z") == LATEST_MS - 1
    with pytest.raises(ValueError, match="outside the years"):
        parse_epoch_ms("2200-01-01T00:00:00Z")


@pytest.mark.parametrize("number", [0, -1, 0.0, 10**30, 1e300, 1_714_564_800_000_000])
def test_defaults_and_microseconds_are_no_times(number):
    with pytest.raises(ValueError, match="outside the years"):
        parse_epoch_ms(number)


@pytest.mark.parametrize("text", ["2024-05-01T12:00:00", "2024-05-01", "20240501T12"])
def test_a_time_without_an_offset_is_refused_as_it_may_be_hours_off(text):
    with pytest.raises(ValueError, match="has no UTC offset"):
        parse_epoch_ms(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "1e999",
        "nan",
        "inf",
        "1_714_564_800",
        "１７１４５６４８００",
        "\ud800",
        "2024-13-01T00:00Z",
    ],
)
def test_other_text_is_no_time(text):
    with pytest.raises(ValueError, match="is not a time"):
        parse_epoch_ms(text)


def test_the_limits_are_arguments_so_that_old_books_have_a_date():
    assert parse_epoch_ms("1813-01-28T00:00:00Z", earliest_ms=-30_610_224_000_000) == -4_952_102_400_000
