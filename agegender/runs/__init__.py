"""Records of training runs as pages read them, without TensorFlow: curves, progress, recipes side by side."""
