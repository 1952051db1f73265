"""Runs, the model registry and served models: the only package that imports MLflow."""
