"""Bytewax operators: thin adapters around the stages of the engine."""
