"""Names and shapes of a state dict, looked up with a clear word on what isn't there or isn't
supported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..errors import ArchitectureError

Shapes = Mapping[str, tuple[int, ...]]


def shape_of(shapes: Shapes, name: str, rank: int) -> tuple[int, ...]:
    """The shape of tensor `name`, which must be there and have `rank` dimensions of 1 or more.

    Raises:
        ArchitectureError: it is missing or has another shape.
    """
    if name not in shapes:
        raise ArchitectureError(f"tensor {name} is missing: not a BiRefNet of upstream's")
    shape = tuple(shapes[name])
    if len(shape) != rank or min(shape) < 1:
        raise ArchitectureError(
            f"tensor {name} has shape {shape}, expected {rank} dimensions of 1 or more"
        )
    return shape


SUPPORTED = (
    "supported are the backbones Swin v1, PVT v2 and DINOv3 with upstream's decoder, in any "
    "setting of mul_scl_ipt, cxt_num, squeeze_block, dec_blk, dec_att, dec_ipt, dec_ipt_split, "
    "out_ref, ms_supervision"
)
_CONVOLUTIONAL = (
    "which no released weights have, and which upstream itself could not run until 2025"
)
"""Its author's words: issues 19 and 70 of upstream's repository."""
_BACKBONES = (
    ("bb.conv1.4.0.conv1.weight", f"its backbone is 'resnet50', {_CONVOLUTIONAL}"),
    ("bb.conv1.1.running_mean", f"its backbone is 'vgg16bn', {_CONVOLUTIONAL}"),
    ("bb.conv1.0.weight", f"its backbone is 'vgg16', {_CONVOLUTIONAL}"),
    ("bb.cls_token", "its backbone is a plain vision transformer (ViT or DINO)"),
    ("bb.embeddings.cls_token", "its backbone is a plain vision transformer (ViT or DINO)"),
    ("bb.layers.0.blocks.0.attn.logit_scale", "its backbone is Swin v2"),
)
"""A tensor that only this backbone has, or that those above it have, too."""


def refuse_other_variants(shapes: Shapes) -> None:
    """Let networks pass that show nothing that is not supported.

    Raises:
        ArchitectureError: the tensors show something else; the message says which parts differ.
    """
    problems = list(_problems(shapes))
    if problems:
        raise ArchitectureError(f"{'; '.join(problems)}; {SUPPORTED}")


def _problems(shapes: Shapes) -> Iterator[str]:
    for name, problem in _BACKBONES:
        if name in shapes:
            yield problem
            break
    for prefix, problem in (
        ("refiner.", "it has a refiner ('refine')"),
        ("cls_head.", "it has a classification head ('auxiliary_classification')"),
    ):
        if any(name.startswith(prefix) for name in shapes):
            yield problem
