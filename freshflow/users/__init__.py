"""What is known of a user: the running session, the history of items, and the bounded table of users of a bucket."""
