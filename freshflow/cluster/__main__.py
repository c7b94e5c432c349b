"""A process of a cluster: `python -m freshflow.cluster <index> <descriptor>`, started by the supervisor."""

import sys

from freshflow._process import configure_job_process

if __name__ == "__main__":
    configure_job_process()
    from freshflow.cluster.worker import main

    main(int(sys.argv[1]), int(sys.argv[2]))
