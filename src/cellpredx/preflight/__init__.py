"""What a task finds on its node before the work begins: the image's tools and a GPU."""
