"""Root of the error tree, and what the zoo itself raises.

BirefnetError
├── UnknownModelError      no model of that name
├── birefnet_runtime.errors
└── birefnet_export.errors
"""


class BirefnetError(Exception):
    """Base of every error that birefnet-ort raises on purpose; its text is one line."""


class UnknownModelError(BirefnetError):
    """No model of that name is in the zoo; the message lists those that are."""
