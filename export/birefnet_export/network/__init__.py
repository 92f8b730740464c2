"""BiRefNet as its layers, by the names of their tensors, and the architecture that those show."""
