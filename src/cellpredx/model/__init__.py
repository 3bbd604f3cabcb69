"""CellPredX: losses, training, calibration, the bundle and prediction.

Method: Liu et al., PLOS Computational Biology, doi 10.1371/journal.pcbi.1013824.
"""
