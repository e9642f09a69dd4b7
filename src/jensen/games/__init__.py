"""Games: losses of one or more players, their gradient field, and the rules that step along it."""
