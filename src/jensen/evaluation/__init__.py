"""Evaluation: figures read off a trained model, each with its kind, unit and standard error."""
