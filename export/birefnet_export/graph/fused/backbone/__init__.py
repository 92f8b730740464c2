"""Backbones, fused: each a file whose function takes the same arguments."""
