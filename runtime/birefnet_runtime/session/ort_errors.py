"""What ONNX Runtime raises."""


def onnxruntime_errors() -> tuple[type[Exception], ...]:
    """A dozen classes without a base of their own."""
    try:
        from onnxruntime.capi import onnxruntime_pybind11_state as state
    except ModuleNotFoundError:
        return ()
    found = (getattr(state, name) for name in dir(state))
    return tuple(kind for kind in found if isinstance(kind, type) and issubclass(kind, Exception))


def first_line(error: Exception) -> str:
    """The first line of a message; ONNX Runtime's go on with pages of C++."""
    return str(error).strip().partition("\n")[0]
