"""Input events: their types, and parsers that turn bytes into events or rejected records."""
