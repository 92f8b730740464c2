"""An exported file compared with its checkpoint and with upstream's pipeline."""
