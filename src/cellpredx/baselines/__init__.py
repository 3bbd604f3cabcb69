"""Plain classifiers on the model's own features, to compare it with."""
