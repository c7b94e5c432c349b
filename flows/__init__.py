"""The job as modules for `python -m bytewax.run`."""
