"""From ranked candidates to the items that are shown: what a business asks of its lists, each as a small pure rule."""
