"""How good masks are, on images whose masks are known: `birefnet evaluate`.

A folder to pairs, pairs to masks, masks to scores, scores to files.
"""
