"""Simple recommenders to hold the job's lists against: a small file each, learning from the stream as it passes."""
