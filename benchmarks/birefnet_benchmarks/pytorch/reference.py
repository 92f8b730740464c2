"""PyTorch as what exports are compared with: our module of a checkpoint, or somebody's own code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from birefnet_export.checkpoint.fetch import fetch
from birefnet_export.checkpoint.read import read_fetched
from birefnet_export.errors import ParityError
from birefnet_export.graph.signature import OUTPUT
from birefnet_export.verify.reference import Array, under_upsampling
from birefnet_models.pins import FetchOptions
from torch import Tensor, nn

from .birefnet import load
from .remote_code import RemoteModel, load_remote


class PyTorchReference:
    """A module as a `birefnet_export.verify.reference.Reference`.

    The module is raised or lowered to the type of the image, in place.
    """

    def __init__(self, net: nn.Module, name: str) -> None:
        self.net = net
        self.name = name
        self.computed_by = f"pytorch {torch.__version__} in float64"

    def logits(self, image: Array) -> Array:
        """Logits in the type of the image: float32 or float64."""
        x = torch.from_numpy(image)
        with torch.inference_mode():
            return cast(Array, self.net.to(x.dtype)(x).numpy())

    def maps(self, image: Array) -> Mapping[str, Array]:
        """The maps at all points, in the type of the image.

        Raises:
            ParityError: the module has no parts of upstream's names.
        """
        network = self.net.network if isinstance(self.net, RemoteModel) else self.net
        outputs: dict[str, Tensor] = {}
        scales = iter(("full", "half"))

        def keep_maps(module: nn.Module, inputs: Any, maps: list[Tensor]) -> None:
            scale = next(scales)
            outputs.update({f"backbone.{scale}.stage{i}": x for i, x in enumerate(maps)})

        def keep_as(point: str, module: nn.Module) -> Any:
            return module.register_forward_hook(lambda m, inputs, x: outputs.update({point: x}))

        hooks = []
        try:
            hooks.append(network.get_submodule("bb").register_forward_hook(keep_maps))
            for point, name in _watched(network).items():
                hooks.append(keep_as(point, network.get_submodule(name)))
            last = cast(nn.Conv2d, network.get_submodule("decoder.conv_out1.0"))
            found: dict[str, Array] = {OUTPUT.name: self.logits(image)}
        except AttributeError as error:
            raise ParityError(f"the reference can't be watched: {error}") from error
        finally:
            for hook in hooks:
                hook.remove()
        found |= {point: x.numpy() for point, x in outputs.items()}
        assert last.bias is not None
        weight, bias = last.weight.detach().numpy(), last.bias.detach().numpy()
        found["decoder.block1"] = under_upsampling(found["decoder.block1"], weight, bias)
        return found


def _watched(network: nn.Module) -> dict[str, str]:
    """Points, and the modules of upstream's names whose outputs they are."""
    watched = {f"decoder.block{i}": f"decoder.decoder_block{i}" for i in (4, 3, 2, 1)}
    watched |= {f"decoder.lateral{i}": f"decoder.lateral_block{i}" for i in (4, 3, 2)}
    if any(name.startswith("squeeze_module.") for name in network.state_dict()):
        watched["squeeze"] = "squeeze_module"
    return watched


def open_pytorch_reference(
    text: str, multi_scale: str | None, fetching: FetchOptions
) -> PyTorchReference:
    """Open a checkpoint in our module; an `OpenReference`."""
    checkpoint = read_fetched(fetch(text, fetching))
    if checkpoint.arch.multi_scale is None:
        checkpoint = checkpoint.with_multi_scale(multi_scale)
    return PyTorchReference(load(checkpoint), checkpoint.origin or str(checkpoint.path))


def open_remote(reference: str, consent: bool, fetching: FetchOptions) -> PyTorchReference:
    """Open somebody's repository or directory with its own code; see `load_remote`."""
    remote = load_remote(reference, consent, fetching.say or (lambda _: None))
    return PyTorchReference(remote, f"remote code of {remote.origin}")
