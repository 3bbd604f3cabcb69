"""Cells by features: standardised input, and counts of peaks, windows and gene activity."""
