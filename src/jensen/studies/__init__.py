"""Studies: one system of theory each, run, its claims checked against ground truth, and drawn."""
