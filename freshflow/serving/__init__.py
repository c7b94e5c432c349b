"""A consumer of what a job publishes: keeps the latest list of every user and item, and answers over HTTP."""
