"""From ranked items to published lists: the five steps of a partition, change suppression, and the wire format."""
