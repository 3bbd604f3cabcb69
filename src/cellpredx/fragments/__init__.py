"""Fragment files: read once into a store of integer arrays, with QC and cells on the way."""
