"""What a model file says of itself, and the steps between pixels, tensor, logits and alpha."""
