"""Adam: River's steps, on arrays."""

import numpy as np
from river import optim

from freshflow.ranking.adam import Adam


def test_step_equals_river_adam():
    random = np.random.default_rng(4)
    weights = [np.zeros((9, 3), np.float32) for _ in range(2)]
    optimizers = [Adam(lr=0.001), optim.Adam(lr=0.001)]
    for _ in range(200):
        gradient = random.normal(0, 1, (9, 3)).astype(np.float32)
        weights = [optimizer.step(old, gradient.copy()) for optimizer, old in zip(optimizers, weights, strict=True)]
    np.testing.assert_allclose(weights[0], weights[1], rtol=0, atol=1e-6)


def test_step_returns_the_array_it_changed():
    weights = np.zeros(2)
    assert Adam(lr=0.1).step(weights, np.ones(2)) is weights
    assert weights.any()


def test_step_with_appended_weights_equals_river_by_name():
    """River's Adam by name keeps no moments of a name before it meets it; ours keeps none of a weight."""
    random, ours, rivers = np.random.default_rng(3), Adam(lr=0.01), optim.Adam(lr=0.01)
    weights, by_name = np.zeros(5), dict.fromkeys(range(8), 0.0)
    for n in range(100):
        weights = np.append(weights, np.zeros(3)) if n == 50 else weights
        gradient = random.normal(0, 1, len(weights))
        ours.step(weights, gradient)
        rivers.step(by_name, dict(enumerate(gradient.tolist())))
    np.testing.assert_allclose(weights, list(by_name.values()), rtol=0, atol=1e-12)


def test_small_moments_become_zero_and_never_subnormal():
    optimizer, weights = Adam(lr=0.001), np.zeros(2, np.float32)
    optimizer.apply_gradients(weights, np.array([[1e-3, 1e-19]], np.float32))
    for _ in range(20):
        optimizer.apply_gradients(weights, np.zeros((100, 2), np.float32))
        for moments in (optimizer.m, optimizer.v):
            assert ((moments == 0) | (np.abs(moments) >= np.finfo(np.float32).tiny)).all()
    assert not optimizer.m.any()


def test_step_with_fortran_ordered_gradient_is_the_same():
    gradient = np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3))
    plain, fortran = Adam(lr=0.1), Adam(lr=0.1)
    for _ in range(3):
        ours, others = plain.step(np.zeros((2, 3)), gradient.copy("C")), fortran.step(np.zeros((2, 3)), gradient)
    assert np.array_equal(ours, others)


def test_apply_gradients_equals_single_steps():
    random = np.random.default_rng(5)
    gradients = random.normal(0, 1, (30, 4, 3)).astype(np.float32)
    together, one_by_one = (np.ones((4, 3), np.float32) for _ in range(2))
    fast, plain = Adam(lr=0.01), Adam(lr=0.01)
    fast.apply_gradients(together, gradients[:13])
    fast.apply_gradients(together, gradients[13:])
    for gradient in gradients:
        one_by_one = plain.step(one_by_one, gradient)
    assert np.array_equal(together, one_by_one)
    assert fast.n_iterations == plain.n_iterations == 30
