"""Determinant features: which features decided a prediction."""
