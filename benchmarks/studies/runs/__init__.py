"""Whole runs: how they start, what they take, what they survive."""
