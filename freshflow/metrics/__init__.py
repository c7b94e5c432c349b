"""Metrics: the quality of lists, measured before each event is learned (prequential evaluation), and counts."""
