"""Other places that a file runs: browsers, Arm, other execution providers."""
