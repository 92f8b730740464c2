"""The ground floor of all packages: errors, text, names, files, hashes."""
