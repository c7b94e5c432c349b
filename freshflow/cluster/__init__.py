"""Several worker processes of one job: the supervisor, the workers and their messages."""
