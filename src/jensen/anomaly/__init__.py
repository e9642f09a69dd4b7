"""Anomalies: scores, their calibration, and the errors they make."""
