"""Deep generative models whose every number can be trusted."""
