"""Training: the recipe, the loop, run records and publishing."""
