"""HTTP server for published lists: stores the latest list of every user and item, and answers requests."""
