"""Metrics of predictions where the query's labels are known; the only stage that sees them."""
