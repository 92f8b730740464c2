"""Differences between two answers to the same tensors, and between masks."""
