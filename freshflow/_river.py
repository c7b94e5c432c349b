"""What we use of River, imported without what River uses of SciPy.

Whatever is wanted of River, all of its distributions and losses are imported, and with them `scipy.stats` and
`scipy.special`: two thirds of a second and 40 MB for every process of a job, for samplers and models that none of ours
uses. They are imported when one of these is first called.
"""

from freshflow._lazy_import import lazy_imports

__all__ = ["ADWIN", "VectorDict", "bandit", "compose", "linear_model", "optim", "preprocessing", "proba", "trees"]

SCIPY_SUBMODULES = ("integrate", "io", "io.arff", "io.arff._arffread", "ndimage", "sparse", "special", "stats")

with lazy_imports(*(f"scipy.{submodule}" for submodule in SCIPY_SUBMODULES)):
    from river import bandit, compose, linear_model, optim, preprocessing, proba
    from river import tree as trees
    from river.drift import ADWIN
    from river.utils import VectorDict
