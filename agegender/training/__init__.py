"""Training: the recipe, the targets, the loop."""
