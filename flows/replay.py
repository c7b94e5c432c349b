"""Dataflow over a file: `python -m bytewax.run flows.replay`, with FRESHFLOW_INPUT and FRESHFLOW_OUTPUT set."""

import os

from freshflow._process import configure_job_process

configure_job_process()  # before the next import, which loads numpy, Numba and River

from freshflow.streaming.job import flow_from_environment  # noqa: E402

flow = flow_from_environment(os.environ)
