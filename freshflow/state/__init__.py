"""Durable state: snapshots, changelogs and the manifest in Bytewax's recovery store."""
