"""How good the lists are, measured on the stream before it is learned from (progressive validation)."""
