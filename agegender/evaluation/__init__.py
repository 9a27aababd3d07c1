"""How good a model is: metrics, groups, corruptions."""
