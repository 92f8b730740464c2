"""`birefnet bench`: configurations, interleaved runs, accuracy, results."""
