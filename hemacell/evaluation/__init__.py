"""How good predictions are: metrics, files, calibration and comparisons. Knows arrays only: no MLflow, no models."""
