"""Backbones: each a file with its record, which is read off the tensors, and its layers."""
