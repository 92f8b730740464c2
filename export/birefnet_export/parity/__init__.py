"""Differences between two sets of logits for the same tensors, and between masks."""
