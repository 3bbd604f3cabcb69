"""Figures, tables and MultiQC content: what a run tells its reader."""
