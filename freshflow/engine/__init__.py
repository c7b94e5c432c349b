"""The path of events to published lists: pipelines, partitions, learning, publication, and snapshots."""
