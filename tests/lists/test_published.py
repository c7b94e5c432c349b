"""What was published last: the same list is not new, and the table of users is bounded."""

from freshflow.lists.published import Published


def test_a_list_is_new_once_until_it_changes():
    published = Published(10)
    news = [published.is_new("u", items) for items in (["a", "b"], ["a", "b"], ["a"], ["a", "b"])]
    assert news == [True, False, True, True]


def test_another_order_is_another_list():
    published = Published(10)
    assert published.is_new("u", ["a", "b"])
    assert published.is_new("u", ["b", "a"])


def test_items_that_run_together_make_another_list():
    published = Published(10)
    assert published.is_new("u", ["ab", "c"])
    assert published.is_new("u", ["a", "bc"])


def test_users_do_not_share_their_lists():
    published = Published(10)
    assert published.is_new("u", ["a"])
    assert published.is_new("v", ["a"])


def test_an_empty_list_is_news_only_to_a_user_who_had_one():
    published = Published(10)
    assert not published.is_new("u", [])
    published.is_new("u", ["a"])
    assert published.is_new("u", [])
    assert not published.is_new("u", [])


def test_a_forgotten_user_s_list_is_new_again():
    published = Published(10)
    published.is_new("u", ["a"])
    published.forget("u")
    published.forget("nobody")
    assert published.is_new("u", ["a"])


def test_beyond_its_bound_it_forgets_who_was_published_longest_ago():
    published = Published(2)
    for user, item in (("u", "a"), ("v", "a"), ("u", "b"), ("w", "a")):  # u was published after v
        published.is_new(user, [item])
    assert set(published.digests) == {"u", "w"}
    assert published.evicted == 1
    assert not published.is_new("u", ["b"])
    assert published.is_new("v", ["a"])


def test_a_restored_table_knows_what_it_knew():
    published = Published(2)
    published.is_new("u", ["a"])
    restored = Published(2, dict(published.digests))
    assert not restored.is_new("u", ["a"])
