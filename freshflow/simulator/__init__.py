"""A seeded shop whose events look like a real one's: to try the job, to measure it, and to test it."""
