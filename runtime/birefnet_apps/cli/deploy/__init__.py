"""Commands that prepare a model for where it will serve."""
