"""Networks of upstream's other configurations, recognized by their tensors and refused by name.

The names in quotes are those of upstream's `config.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..errors import ArchitectureError

Shapes = Mapping[str, tuple[int, ...]]

SUPPORTED = (
    "supported is upstream's default configuration with any Swin v1 backbone: mul_scl_ipt 'cat', "
    "cxt_num 3, squeeze_block 'BasicDecBlk_x1', dec_blk 'BasicDecBlk', dec_att 'ASPPDeformable', "
    "dec_ipt with dec_ipt_split, and out_ref"
)
_BACKBONES = (
    ("bb.patch_embed1.proj.weight", "its backbone is PVT v2"),
    ("bb.conv1.0.weight", "its backbone is VGG or ResNet"),
    ("bb.cls_token", "its backbone is a plain vision transformer (ViT or DINO)"),
    ("bb.embeddings.cls_token", "its backbone is a plain vision transformer (ViT or DINO)"),
    ("bb.layers.0.blocks.0.attn.logit_scale", "its backbone is Swin v2"),
)


def refuse_other_variants(shapes: Shapes) -> None:
    """Let upstream's default configuration pass.

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
        if "bb.patch_embed.proj.weight" not in shapes:
            yield "it has no Swin v1 backbone (bb.patch_embed)"
    yield from _squeeze_problems(shapes)
    yield from _decoder_problems(shapes)
    yield from _scale_problems(shapes)
    for prefix, problem in (
        ("refiner.", "it has a refiner ('refine')"),
        ("cls_head.", "it has a classification head ('auxiliary_classification')"),
    ):
        if any(name.startswith(prefix) for name in shapes):
            yield problem


def _squeeze_problems(shapes: Shapes) -> Iterator[str]:
    if not any(name.startswith("squeeze_module.0.") for name in shapes):
        yield "it has no squeeze block ('squeeze_block')"
    elif "squeeze_module.0.conv_in.weight" not in shapes:
        yield "its squeeze block is an ASPP ('squeeze_block')"
    elif any(name.startswith("squeeze_module.1.") for name in shapes):
        yield "it has several squeeze blocks ('squeeze_block')"
    elif "squeeze_module.0.dec_att.aspp1.atrous_conv.weight" in shapes:
        yield "its decoder uses plain ASPP ('dec_att')"
    elif "squeeze_module.0.dec_att.aspp1.atrous_conv.regular_conv.weight" not in shapes:
        yield "its decoder blocks have no deformable ASPP ('dec_att')"


def _decoder_problems(shapes: Shapes) -> Iterator[str]:
    if any(name.startswith("decoder.decoder_block1.conv_resi") for name in shapes):
        yield "its decoder blocks are residual ('dec_blk')"
    patches = shapes.get("decoder.ipt_blk5.conv1.weight")
    if patches is None:
        yield "its decoder takes no image patches ('dec_ipt', ipt_blk5)"
    elif len(patches) == 4 and patches[1] == 3:
        yield "its decoder takes the image unsplit ('dec_ipt_split')"
    if "decoder.gdt_convs_4.0.weight" not in shapes:
        yield "its decoder has no gradient attention ('out_ref')"


def _scale_problems(shapes: Shapes) -> Iterator[str]:
    """What the number of channels tells: the scales of the backbone, and the context."""
    patch = shapes.get("bb.patch_embed.proj.weight")
    lateral = shapes.get("decoder.lateral_block2.conv.weight")
    squeeze = shapes.get("squeeze_module.0.conv_in.weight")
    if patch is None or lateral is None or len(lateral) != 4:
        return
    width = patch[0]
    if lateral[1] == width:
        yield (
            "its backbone runs at one scale, or both are added ('mul_scl_ipt' is '' or 'add', "
            "which tensors can't tell apart)"
        )
    elif squeeze is not None and len(squeeze) == 4 and squeeze[1] != 30 * width:
        yield "its deepest map takes another context ('cxt_num')"
