"""What can be known of a job before it is started, without changing anything."""
