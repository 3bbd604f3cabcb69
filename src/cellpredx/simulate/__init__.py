"""Data with a known answer: small enough for a test, with what makes real data hard."""
