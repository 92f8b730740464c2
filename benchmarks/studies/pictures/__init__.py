"""Around the network: resizing, colors, files, and what is done to a mask."""
