"""What there is to look up: settings with their meaning, and JSON Schemas of all that comes in and goes out."""
