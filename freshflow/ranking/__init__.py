"""From what is known of a user and of the items to an order of items: candidates, features, a River model, top-k."""
