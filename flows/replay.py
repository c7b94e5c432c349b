"""The same job over a file: `FRESHFLOW_INPUT=events.jsonl FRESHFLOW_OUTPUT=lists.jsonl python -m bytewax.run flows.replay`."""

import os

from freshflow.dataflow.job import flow_from_environment

flow = flow_from_environment(os.environ)
