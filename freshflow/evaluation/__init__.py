"""Progressive validation over a file: the job's own code predicts each event from earlier ones, then learns it."""
