"""Bytewax operators: thin adapters around the stages."""
