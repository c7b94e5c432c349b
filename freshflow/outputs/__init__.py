"""What the job publishes: records, their assembly and their JSON."""
