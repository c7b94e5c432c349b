"""The streaming job: its graph on Bytewax, operators that adapt the domain, and its monitoring."""
