"""Labels, and reference and query joined on common features."""
