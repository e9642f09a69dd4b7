"""Models: distributions over one example."""
