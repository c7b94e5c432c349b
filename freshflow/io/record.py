"""Records of the job's sinks, in batches, so that one graph item carries many.

An `OutRecord` is (key, value) in bytes. A key is the user id (lists), the item id (related), or None. A value of None
is a tombstone: on a compacted topic it deletes the key. A graph item is `(route, OutBatch)`, where `route` (a partition
name of the job) only spreads batches over the parts of a sink and is never published.
"""

OutRecord = tuple[bytes | None, bytes | None]
OutBatch = list[OutRecord]
