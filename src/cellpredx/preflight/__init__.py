"""What a task finds on its node before the work begins: the image's tools, a GPU, reference files."""
