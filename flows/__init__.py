"""Dataflow modules for `python -m bytewax.run`."""
