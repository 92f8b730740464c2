"""BiRefNet in plain PyTorch, and the architecture read off a checkpoint's tensors."""
