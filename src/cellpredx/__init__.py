"""The package behind the cellpredx pipeline: one folder a stage, `cellpredx <verb>` in front."""

__version__ = "0.1.0"
