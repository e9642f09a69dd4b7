"""Networks: parameters in, numbers out. They know nothing of probability."""
