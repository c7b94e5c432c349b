"""Files and standard streams."""
