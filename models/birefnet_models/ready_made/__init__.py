"""Graphs that somebody has made: repositories of the hub and single files, in the cache once."""
