"""Evaluation over a file: every event is predicted from earlier ones by the job's own code, then learned from."""
