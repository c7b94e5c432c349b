"""Other shapes of events: a table each from their fields to ours (`table.py`), read by one engine (`adapter.py`).

`formats.py` chooses the table of a record: by the name in `events.format`, or by what only one shape has. Behind this
seam everything is as for our own shape; before it stand only decoded records.
"""
