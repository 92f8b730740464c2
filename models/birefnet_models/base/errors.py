"""Root of the error tree, and what the zoo, the cache and the downloads raise.

BirefnetError
├── UnknownModelError          no model of that name
├── CacheError                 there is no place for the cache
├── OnnxFileError              the file is not an ONNX model
├── FetchError                 a file can't be had; says from where, and why
│   ├── OfflineError           it is not here and the network must not be used, or can't be
│   ├── OnlyCheckpointError    a repository holds no .onnx, but a checkpoint
│   ├── AccessError            the server wants a login or a right that is not there
│   └── LicenseError           a license has to be accepted first
├── PinError                   a file is not the pinned one, or nothing is pinned
├── MissingExtraError          an optional package is needed; names the install command
├── birefnet_runtime.errors
└── birefnet_export.errors
"""


class BirefnetError(Exception):
    """Base of every error that birefnet-ort raises on purpose; its text is one line."""


class UnknownModelError(BirefnetError):
    """No model of that name is in the zoo; the message lists those that are."""


class CacheError(BirefnetError):
    """No directory for the cache is known; the message says how to give one."""


class OnnxFileError(BirefnetError):
    """A file that is not an ONNX model; the message names the file."""


class FetchError(BirefnetError):
    """A file that can't be had; the message names its source and what to do."""


class OfflineError(FetchError):
    """A file that is not on this machine while there is no network, or none may be used."""


class OnlyCheckpointError(FetchError):
    """A repository that holds a checkpoint and no `.onnx`."""


class AccessError(FetchError):
    """A file behind a login or a gate."""


class LicenseError(FetchError):
    """A model whose license forbids more than usual and was not accepted."""


class PinError(BirefnetError):
    """A file that is not the one in the lock file, or a reference that the lock file lacks."""


class MissingExtraError(BirefnetError, ImportError):
    """A package is missing that one of the distribution's extras installs."""
