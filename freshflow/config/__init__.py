"""Configuration of a job: one TOML file, checked when it is loaded, frozen, passed as values."""
