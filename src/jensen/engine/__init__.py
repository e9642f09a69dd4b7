"""The engine: the one training loop of the library."""
