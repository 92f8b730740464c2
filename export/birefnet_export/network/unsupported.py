"""Networks of upstream's other configurations, recognized by their tensors and refused by name.

The names in quotes are those of upstream's `config.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import ArchitectureError
from .shapes import Shapes

SUPPORTED = (
    "supported is any Swin v1 backbone with upstream's decoder, in any setting of mul_scl_ipt, "
    "cxt_num, squeeze_block, dec_blk, dec_att, dec_ipt_split, out_ref, ms_supervision"
)
_BACKBONES = (
    ("bb.patch_embed1.proj.weight", "its backbone is PVT v2"),
    ("bb.conv1.0.weight", "its backbone is VGG or ResNet"),
    ("bb.cls_token", "its backbone is a plain vision transformer (ViT or DINO)"),
    ("bb.embeddings.cls_token", "its backbone is a plain vision transformer (ViT or DINO)"),
    ("bb.layers.0.blocks.0.attn.logit_scale", "its backbone is Swin v2"),
)


def refuse_other_variants(shapes: Shapes) -> None:
    """Let networks with a Swin v1 backbone and image input to the decoder pass.

    Raises:
        ArchitectureError: the tensors show another; the message says which parts differ.
    """
    problems = list(_problems(shapes))
    if problems:
        raise ArchitectureError(f"{'; '.join(problems)}; {SUPPORTED}")


def _problems(shapes: Shapes) -> Iterator[str]:
    for name, problem in _BACKBONES:
        if name in shapes:
            yield problem
            break
    else:
        known = ("bb.patch_embed.proj.weight", "bb.model.reg_token")
        if not any(name in shapes for name in known):
            yield "it has no Swin v1 backbone (bb.patch_embed)"
    if "decoder.ipt_blk5.conv1.weight" not in shapes:
        yield "its decoder takes no image ('dec_ipt', ipt_blk5)"
    for prefix, problem in (
        ("refiner.", "it has a refiner ('refine')"),
        ("cls_head.", "it has a classification head ('auxiliary_classification')"),
    ):
        if any(name.startswith(prefix) for name in shapes):
            yield problem
