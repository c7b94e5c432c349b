"""The configuration of a job: one TOML file, checked on load, frozen, passed as values."""
