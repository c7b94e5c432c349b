"""Reference of settings and JSON Schemas of all inputs and outputs, generated from types."""
