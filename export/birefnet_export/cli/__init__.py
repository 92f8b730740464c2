"""The commands of the export package."""
