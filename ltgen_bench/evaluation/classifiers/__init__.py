"""The benchmark's own classifiers: networks, recipes, training."""
