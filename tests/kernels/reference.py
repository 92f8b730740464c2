"""A deformable convolution in float64, and graphs and feeds to try the provider with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Feeds = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A node's attributes and sizes; sides are (height, width)."""

    channels: int = 16
    outputs: int = 12
    kernel: tuple[int, int] = (3, 3)
    size: tuple[int, int] = (20, 23)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] | None = None
    """Top, left, bottom, right; None: those that keep the size at a stride of one."""
    batch: int = 1
    bias: bool = True
    mask: bool = True
    reach: float = 2.0
    """Deviation of the offsets, in pixels."""
    low: float = 0.0
    """Least value of the map; 0 as behind a ReLU."""
    seed: int = 0
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Others, for the node."""

    @property
    def all_pads(self) -> tuple[int, int, int, int]:
        height, width = self.kernel
        return self.pads or (height // 2, width // 2, (height - 1) // 2, (width - 1) // 2)

    @property
    def output_size(self) -> tuple[int, int]:
        top, left, bottom, right = self.all_pads
        spans = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True)]
        tall, wide = self.size[0] + top + bottom, self.size[1] + left + right
        return (tall - spans[0]) // self.stride[0] + 1, (wide - spans[1]) // self.stride[1] + 1

    def weights(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weight (outputs, channels, height, width) and bias (outputs,)."""
        random = np.random.default_rng(self.seed + 1)
        weight = random.standard_normal((self.outputs, self.channels, *self.kernel)) * 0.1
        return weight.astype(np.float32), random.standard_normal(self.outputs).astype(np.float32)

    def feeds(self) -> Feeds:
        """`x`, `offset` and, with a mask, `mask`."""
        random = np.random.default_rng(self.seed)
        taps = self.kernel[0] * self.kernel[1]
        x = random.standard_normal((self.batch, self.channels, *self.size))
        offset = random.standard_normal((self.batch, 2 * taps, *self.output_size)) * self.reach
        mask = random.random((self.batch, taps, *self.output_size))
        feeds = {"x": np.maximum(x, self.low), "offset": offset}
        if self.mask:
            feeds["mask"] = mask
        return {name: value.astype(np.float32) for name, value in feeds.items()}


def convolved(case: Case, feeds: Feeds) -> NDArray[np.float64]:
    """The node's output, (batch, outputs, height, width): ONNX's DeformConv, in float64 but for
    positions. A sample whose offset is NaN is zero."""
    weight, bias = case.weights()
    height, width = case.size
    tall, wide = case.output_size
    x = np.pad(feeds["x"].astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    rows = np.arange(tall)[:, None] * case.stride[0] - case.all_pads[0]
    columns = np.arange(wide)[None, :] * case.stride[1] - case.all_pads[1]
    total = np.zeros((case.batch, case.outputs, tall, wide))
    for tap in range(case.kernel[0] * case.kernel[1]):
        i, j = divmod(tap, case.kernel[1])
        offset = feeds["offset"][:, 2 * tap : 2 * tap + 2]
        y = (rows + i * case.dilation[0]).astype(np.float32) + offset[:, 0]
        z = (columns + j * case.dilation[1]).astype(np.float32) + offset[:, 1]
        inside = (y > -1) & (z > -1) & (y < height) & (z < width)
        y, z = (np.where(inside, value, 0).astype(np.float64) for value in (y, z))
        top, left = np.floor(y).astype(int), np.floor(z).astype(int)
        dy, dz = y - top, z - left
        mask = feeds["mask"][:, tap] if "mask" in feeds else 1.0
        for row, column, share in (
            (0, 0, (1 - dy) * (1 - dz)),
            (0, 1, (1 - dy) * dz),
            (1, 0, dy * (1 - dz)),
            (1, 1, dy * dz),
        ):
            share = np.where(inside, share * mask, 0)
            images = np.arange(case.batch)[:, None, None]
            corner = x[images, :, top + row + 1, left + column + 1]  # (batch, tall, wide, channels)
            total += np.einsum("bhwc,oc->bohw", share[..., None] * corner, weight[:, :, i, j])
    return total + (bias[:, None, None] if case.bias else 0)


def graph(case: Case, precision: str | None = None, constant: bool = True) -> bytes:
    """A model of one DeformConv node; `precision` is what its metadata says."""
    from onnx import TensorProto, helper, numpy_helper

    weight, bias = case.weights()
    inputs = ["x", "offset"] + ["mask"] * case.mask + ["weight"] * (not constant)
    node = helper.make_node(
        "DeformConv",
        ["x", "weight", "offset", "bias" if case.bias else ""] + ["mask"] * case.mask,
        ["y"],
        **{
            "kernel_shape": case.kernel,
            "pads": case.all_pads,
            "strides": case.stride,
            "dilations": case.dilation,
            **case.attributes,
        },
    )
    held = [numpy_helper.from_array(weight, "weight")] * constant
    held += [numpy_helper.from_array(bias, "bias")] * case.bias
    made = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in inputs],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        held,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    if precision:
        model.metadata_props.add(key="birefnet.precision", value=precision)
    return model.SerializeToString()
