"""Dataflow from an events topic to a topic of lists: `python -m bytewax.run flows.recommend`.

FRESHFLOW_INPUT and FRESHFLOW_OUTPUT name the topics; the defaults are those of `freshflow topics create`.
"""

import os

from freshflow._process import configure_job_process

configure_job_process()  # before the next import, which loads numpy, Numba and River

from freshflow.streaming.job import flow_from_environment  # noqa: E402

flow = flow_from_environment(
    os.environ,
    default_input="kafka://localhost:9092/events",
    default_output="kafka://localhost:9092/recommendations",
)
