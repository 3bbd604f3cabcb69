"""The headers of a sample's files, checked before anything runs."""
