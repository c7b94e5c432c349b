"""What comes in: events, and how bytes become events or refusals."""
