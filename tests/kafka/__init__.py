"""Tests that need a broker: `make test` brings Tansu, `make test-kafka` brings Apache Kafka."""
