"""Folders and lists of images: what becomes of each file, and how it is done."""
