"""From finished runs to a published model: weights, calibration, measurements, card."""
