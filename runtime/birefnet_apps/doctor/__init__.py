"""What this machine can run on, found out by trying it."""
