"""Layers as their tensors: names, shapes, and values that are read when they are asked for.

A network is described once, as a tree of layers with upstream's names. What a checkpoint must hold,
what the graph is built from and what the reference computes with are all read off that tree. The
layers compute nothing; their names and arguments are PyTorch's.

    class MLP(nn.Layer):
        def __init__(self, width: int, hidden: int) -> None:
            self.fc1 = nn.Linear(width, hidden)
            self.fc2 = nn.Linear(hidden, width)

    mlp = MLP(2, 8)
    mlp.shapes()                # {"fc1.weight": (8, 2), "fc1.bias": (8,), "fc2.weight": ...}
    mlp.bind(tensors.__getitem__).fc1.weight    # tensors["fc1.weight"]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, Self, TypeVar, overload

from numpy.typing import NDArray

Array = NDArray[Any]
Shape = tuple[int, ...]
Reader = Callable[[str], Array]
"""From the whole name of a tensor (`bb.norm0.weight`) to its values."""


class Layer:
    """Tensors (`Parameter`) and further layers, as attributes in the order of their names."""

    _declared: dict[str, Shape] | None = None
    _prefix = ""
    _read: Reader | None = None

    def parameters(self) -> dict[str, Shape]:
        """Names and shapes of its own tensors, without those of the layers below."""
        return self._declared or {}

    def children(self) -> dict[str, Layer]:
        """The layers right below, by their names."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Layer)}

    def child(self, name: str) -> Layer:
        """The layer right below by that name, for names that are put together (`norm0`).

        Raises:
            AttributeError: there is none.
        """
        try:
            return self.children()[name]
        except KeyError as error:
            raise AttributeError(f"{type(self).__name__} has no layer {name!r}") from error

    def add(self, name: str, layer: Layer) -> None:
        """Put a layer below this one, under a name that is put together."""
        setattr(self, name, layer)

    def shapes(self, prefix: str = "") -> dict[str, Shape]:
        """Names, behind `prefix`, and shapes of all tensors in the tree."""
        found = {prefix + name: shape for name, shape in self.parameters().items()}
        for name, layer in self.children().items():
            found |= layer.shapes(f"{prefix}{name}.")
        return found

    def bind(self, read: Reader, prefix: str = "") -> Self:
        """Say where values come from, for all layers of the tree, and return the tree.

        Args:
            read: called with a tensor's whole name each time when it is asked for.
            prefix: of the names.
        """
        self._read, self._prefix = read, prefix
        for name, layer in self.children().items():
            layer.bind(read, f"{prefix}{name}.")
        return self


class Parameter:
    """A tensor of a layer: a shape is assigned to it, values are read from it.

    `layer.weight = 8, 2` declares a tensor of 8 rows and 2 columns; `layer.weight` then gives the
    values that the layer's reader returns.
    """

    def __set_name__(self, owner: type[Layer], name: str) -> None:
        self.name = name

    def __set__(self, layer: Layer, shape: Shape) -> None:
        layer._declared = {**layer.parameters(), self.name: shape}

    @overload
    def __get__(self, layer: None, owner: type[Layer]) -> Self: ...

    @overload
    def __get__(self, layer: Layer, owner: type[Layer]) -> Array: ...

    def __get__(self, layer: Layer | None, owner: type[Layer]) -> Self | Array:
        if layer is None:
            return self
        if self.name not in layer.parameters():
            raise AttributeError(f"this {owner.__name__} has no {self.name}")
        if layer._read is None:
            raise AttributeError(f"the {self.name} of this {owner.__name__} is bound to no values")
        return layer._read(layer._prefix + self.name)


L = TypeVar("L", bound=Layer)


class Sequential(Layer, Generic[L]):
    """Layers by number: `0`, `1` and so on."""

    def __init__(self, layers: Iterable[L] = ()) -> None:
        self._layers: list[L] = []
        for layer in layers:
            self.append(layer)

    def append(self, layer: L) -> None:
        self._layers.append(layer)

    def children(self) -> dict[str, Layer]:
        return {str(i): layer for i, layer in enumerate(self._layers)}

    def __getitem__(self, i: int) -> L:
        return self._layers[i]

    def __iter__(self) -> Iterator[L]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)


class Identity(Layer):
    """Nothing happens."""


class ReLU(Layer):
    """max(x, 0)."""


class GlobalAveragePool(Layer):
    """The mean over a map's height and width."""


class Linear(Layer):
    """x @ weight.T + bias over the last axis."""

    weight = Parameter()
    bias = Parameter()

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        self.in_features, self.out_features = in_features, out_features
        self.has_bias = bias
        self.weight = out_features, in_features
        if bias:
            self.bias = (out_features,)


class Conv2d(Layer):
    """A convolution with a square kernel, padded with zeros."""

    weight = Parameter()
    bias = Parameter()

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride = (kernel_size, kernel_size), (stride, stride)
        self.padding, self.dilation = (padding, padding), (dilation, dilation)
        self.groups = groups
        self.has_bias = bias
        self.weight = out_channels, in_channels // groups, kernel_size, kernel_size
        if bias:
            self.bias = (out_channels,)


class LayerNorm(Layer):
    """Over the last axis."""

    weight = Parameter()
    bias = Parameter()

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        self.eps = eps
        self.weight = (width,)
        self.bias = (width,)


class BatchNorm2d(Layer):
    """In inference: by the running mean and variance of each channel."""

    weight = Parameter()
    bias = Parameter()
    running_mean = Parameter()
    running_var = Parameter()

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        self.eps = eps
        self.weight = (channels,)
        self.bias = (channels,)
        self.running_mean = (channels,)
        self.running_var = (channels,)
