"""Dataflow over a file: `python -m bytewax.run flows.replay`, with FRESHFLOW_INPUT and FRESHFLOW_OUTPUT set."""

import os

from freshflow.streaming.job import flow_from_environment

flow = flow_from_environment(os.environ)
