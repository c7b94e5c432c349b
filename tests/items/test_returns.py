import numpy as np

from freshflow.items.returns import Returns


def counted(*visits):
    """Returns after visits (item, context), among four rows."""
    returns = Returns(4)
    for item, context in visits:
        returns.add(np.array([item]), np.array([[*context, -1, -1][:2]]))
    return returns


def test_a_visit_with_the_item_in_its_context_is_a_return():
    returns = counted((0, ()), (0, (1, 0)), (1, (0,)))
    assert returns.visits.tolist() == [2, 1, 0, 0]
    assert returns.returns.tolist() == [1, 0, 0, 0]
    assert returns.rate(np.array([0, 1, 2])).tolist() == [1.5 / 4, 0.5 / 3, 0.5 / 2]


def test_an_item_twice_in_one_batch_counts_twice():
    returns = Returns(2)
    returns.add(np.array([1, 1]), np.array([[0, 1], [1, 1]]))
    assert (returns.visits[1], returns.returns[1]) == (2, 2)


def test_what_is_dropped_starts_anew_and_growing_keeps_the_rest():
    returns = counted((0, (0,)), (1, (1,)))
    returns.drop(np.array([0]))
    returns.grow(9)
    assert returns.visits.tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 0]
    assert returns.returns.tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 0]
