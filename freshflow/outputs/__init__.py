"""Published records: their types, their assembly from rankings, and their JSON encoding."""
