"""BiRefNet in plain PyTorch: what is timed, and what the NumPy reference is compared with."""
