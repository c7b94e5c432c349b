"""The parts of River that FreshFlow uses, in one place: a job imports them without SciPy (`freshflow._process`)."""

from river import base, compose, linear_model, optim, preprocessing, proba, stats, utils
from river import tree as trees
from river.drift import ADWIN

__all__ = ["ADWIN", "base", "compose", "linear_model", "optim", "preprocessing", "proba", "stats", "trees", "utils"]
