"""Objectives: players, a batch and a key in; one loss per player out."""
