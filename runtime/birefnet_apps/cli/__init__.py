"""The runtime's commands: each parses, calls the library and prints."""
