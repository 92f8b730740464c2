"""TensorRT engines: built for the shapes that are asked for, checked, and kept."""
