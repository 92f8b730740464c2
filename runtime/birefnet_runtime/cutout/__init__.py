"""From alpha and picture to the finished result."""
