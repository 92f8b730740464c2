"""What can go wrong between an image and its cutout.

BirefnetError                  birefnet_models.base.errors
├── ImageError                 the input is no image that can be used; names the file
├── OutputError                the result can't be written there
├── SizeError                  the network can't run at that size; names the nearest that works
├── MemoryLimitError           no setting keeps the model below the limit; says what would
├── ModelError                 the file is no model that the runtime can run, or the run failed
├── ClusterError               the cluster of other machines can't do the work; says why
├── ProviderError              the execution provider asked for can't run; says why
│   └── WrongAnswerError       what computes here computes wrong; says how far off it is
├── ServeError                 the server can't be started as it was asked to
└── MissingExtraError          an optional package is needed; names the install command
"""

from birefnet_models.base.errors import BirefnetError


class ImageError(BirefnetError):
    """An input that is no image, or not one in the layout that was promised."""


class OutputError(BirefnetError):
    """A result that can't be written where it was asked for."""


class SizeError(BirefnetError):
    """A model size that the network can't run at."""


class MemoryLimitError(BirefnetError):
    """A model that would take more memory than it may."""


class ModelError(BirefnetError):
    """A file that is no model for this runtime, or a model whose run failed."""


class ProviderError(BirefnetError):
    """The execution provider asked for can't run here, or not as it was asked to."""


class WrongAnswerError(ProviderError):
    """What computes on this machine computes wrong: a provider, NumPy or OpenCV."""


class ClusterError(BirefnetError):
    """Work that Ray's cluster gave up, or that none of its machines has room for."""


class ServeError(BirefnetError):
    """A server that can't be started as it was asked to."""


class MissingExtraError(BirefnetError):
    """A package is missing that one of the distribution's extras installs."""


class SizeWarning(UserWarning):
    """The model runs at a size far from those it was trained at."""


class MemoryWarning(UserWarning):
    """The model runs at a smaller size than it was trained at, to stay below a limit of memory."""


class ProviderWarning(UserWarning):
    """The session runs on a fallback, slow parts of the graph run on the CPU under a GPU, or the
    sums of an older int8 file saturate on this processor."""


# Which extra of the distribution brings which optional module.


EXTRA_OF_MODULE = {
    "fsspec": "remote",
    "jinja2": "bench",
    "matplotlib": "bench",
    "msgspec": "bench",
    "onnx": "export",
    "onnxruntime": "cpu",
    "pillow_heif": "heic",
    "prometheus_client": "serve",
    "psutil": "bench",
    "pyarrow": "ray",
    "py_sod_metrics": "evaluate",
    "pymatting": "matting",
    "python_multipart": "serve",
    "ray": "ray",
    "safetensors": "export",
    "starlette": "serve",
    "threadpoolctl": "export",
    "torch": "pytorch",
    "transformers": "pytorch",
    "uvicorn": "serve",
}
CPU_BUILD_OF_PYTORCH = "--extra-index-url https://download.pytorch.org/whl/cpu"
"""With which pip takes PyTorch's CPU build; PyPI's, on Linux, brings 3 GB of CUDA."""


def missing_extra(module: str | None) -> MissingExtraError | None:
    """The error for a module that could not be imported; None if no extra brings that module."""
    extra = EXTRA_OF_MODULE.get((module or "").partition(".")[0])
    if extra is None:
        return None
    options = f" {CPU_BUILD_OF_PYTORCH}" if extra == "pytorch" else ""
    return MissingExtraError(
        f"{module} is not installed; install it with: pip install 'birefnet-ort[{extra}]'{options}"
    )
