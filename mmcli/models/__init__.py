"""The whole model: networks, recipe, loading, forward passes, predicting, graphs, calibration. Knows no training."""
