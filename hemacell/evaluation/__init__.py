"""How good the predictions are: numbers, files, pictures and calibration. Knows arrays only: no MLflow, no models."""
