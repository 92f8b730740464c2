"""Many files or frames: which becomes which, and how they flow through the network."""
