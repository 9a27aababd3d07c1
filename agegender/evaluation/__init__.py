"""How good a model is, and how sure it may be: metrics, evaluation, calibration."""
