"""The record that describes one model."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known about one checkpoint. Sizes are (height, width) in pixels."""

    name: str
    """Short name, the one that is typed: `nano`."""
    id: str
    """Full name at the source: `birefnet-ort/nano`, `ZhengPeng7/BiRefNet_lite`."""
    purpose: str
    licence: str
    """SPDX identifier where there is one."""
    backbone: str
    """`swin_v1_t` and so on, or `swin` for one that has no name."""
    trained_size: tuple[int, int]
    parameters: int
    """Tensors of the inference network counted element by element."""
    source: str
    """Where the weights come from."""
    file: str
    """The `.onnx` that ships in this package, relative to the package's folder."""
    sha256: str
    """Of that file, in hexadecimal."""
    notes: str = ""
