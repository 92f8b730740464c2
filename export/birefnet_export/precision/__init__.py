"""Other precisions than float32: passes over the finished graph, and what they cost."""
