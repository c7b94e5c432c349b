"""Lists of related items."""
