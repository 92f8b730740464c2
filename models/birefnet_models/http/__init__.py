"""Over HTTP: a client that bounds what it waits for, and downloads that resume."""
