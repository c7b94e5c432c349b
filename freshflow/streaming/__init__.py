"""The graph, and thin adapters from Bytewax to the domain: they unpack, call and pack, and decide nothing."""
