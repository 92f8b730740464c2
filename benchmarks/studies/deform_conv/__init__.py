"""Our own kernels of DeformConv: what they gain, and what their rounding costs."""
