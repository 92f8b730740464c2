"""One configuration measured, in a process of its own."""
