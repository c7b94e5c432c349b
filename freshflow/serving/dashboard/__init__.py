"""The live page: its collector, history and files."""
