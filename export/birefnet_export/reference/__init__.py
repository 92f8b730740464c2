"""BiRefNet in NumPy, float64: plain, unfused and after the papers, a backbone a file.

What an exported graph must compute. Nothing here is shared with the graph but the description of
the layers (`network`), and nothing is rewritten for speed: each step stands as it was trained.
Maps are (batch, height, width, channels); a layer's values are read when it is its turn.
"""
