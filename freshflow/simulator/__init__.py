"""A seeded simulator of a shop's event stream, for trials, benchmarks and tests."""
