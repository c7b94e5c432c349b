"""User profiles, sessions, and the bounded store of the users of a partition."""
