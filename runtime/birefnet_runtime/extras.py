"""Which extra of the distribution brings which optional module."""

from .errors import MissingExtraError

EXTRA_OF_MODULE = {
    "fsspec": "remote",
    "huggingface_hub": "export",
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
    "torch": "export",
    "transformers": "verify",
    "uvicorn": "serve",
}


def missing_extra(module: str | None) -> MissingExtraError | None:
    """The error for a module that could not be imported; None if no extra brings that module."""
    extra = EXTRA_OF_MODULE.get((module or "").partition(".")[0])
    if extra is None:
        return None
    return MissingExtraError(
        f"{module} is not installed; install it with: pip install 'birefnet-ort[{extra}]'"
    )
