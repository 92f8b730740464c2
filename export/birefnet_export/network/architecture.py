"""The architecture of a BiRefNet as one frozen record, read off the tensors of a checkpoint."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from math import isqrt

from ..errors import ArchitectureError
from .unsupported import Shapes, refuse_other_variants

_BLOCK = re.compile(r"bb\.layers\.(\d+)\.blocks\.(\d+)\.")
_DEFORMABLE = re.compile(
    r"squeeze_module\.0\.dec_att\.aspp_deforms\.(\d+)\.atrous_conv\.regular_conv\.weight"
)


@dataclass(frozen=True, slots=True)
class Architecture:
    """Every width and depth that tells one BiRefNet from another.

    The backbone is Swin v1 with four stages; stage ``i`` has ``embed_dim * 2**i`` channels. The
    backbone runs at full and at half scale, so the decoder sees twice as many (`channels`).
    """

    embed_dim: int
    """Channels of the first backbone stage: 96 (T, S), 128 (B), 192 (L)."""
    depths: tuple[int, ...]
    """Transformer blocks per stage."""
    num_heads: tuple[int, ...]
    """Attention heads per stage."""
    window: int
    """Side of an attention window, in tokens."""
    mlp_hidden: int
    """Hidden channels of the first stage's MLP; stage ``i`` has ``mlp_hidden * 2**i``."""
    decoder_width: int = 64
    """Channels inside each decoder block."""
    aspp_width: int = 256
    """Output channels of each branch of the deformable ASPP."""
    aspp_kernels: tuple[int, ...] = (1, 3, 7)
    """Kernel sizes of the deformable branches that follow the leading 1 x 1."""
    patch_width: int = 64
    """Channels between the two convolutions of an image-patch branch."""
    gradient_width: int = 16
    """Channels of the gradient attention."""

    @property
    def stage_widths(self) -> tuple[int, ...]:
        """Channels of the four backbone stages, shallow to deep."""
        return tuple(self.embed_dim << stage for stage in range(4))

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the four feature maps that the decoder sees, shallow to deep."""
        return tuple(2 * width for width in self.stage_widths)

    @property
    def backbone(self) -> str:
        """Upstream's name of the backbone (`swin_v1_l`), or `swin` for one that has no name."""
        parts = (self.embed_dim, self.depths, self.num_heads, self.window)
        for name, arch in SWIN_V1.items():
            if parts == (arch.embed_dim, arch.depths, arch.num_heads, arch.window):
                return name
        return "swin"

    def to_dict(self) -> dict[str, int | list[int]]:
        """The record as JSON-ready values."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_shapes(cls, shapes: Shapes) -> Architecture:
        """Infer the architecture from state-dict names and shapes.

        Raises `ArchitectureError` where the tensors show something other than a Swin v1
        BiRefNet with deformable ASPP, naming the tensor that was looked for.
        """
        refuse_other_variants(shapes)
        embed_dim = _shape(shapes, "bb.patch_embed.proj.weight", 4)[0]
        tables = [
            _shape(shapes, f"bb.layers.{i}.blocks.0.attn.relative_position_bias_table", 2)
            for i in range(4)
        ]
        kernels = sorted(
            (int(match[1]), shapes[name][-1])
            for name in shapes
            if (match := _DEFORMABLE.fullmatch(name))
        )
        aspp = "squeeze_module.0.dec_att.aspp1.atrous_conv.regular_conv.weight"
        return cls(
            embed_dim=embed_dim,
            depths=_depths(shapes),
            num_heads=tuple(heads for _, heads in tables),
            window=_window(tables[0][0]),
            mlp_hidden=_shape(shapes, "bb.layers.0.blocks.0.mlp.fc1.weight", 2)[0],
            decoder_width=_shape(shapes, "squeeze_module.0.conv_in.weight", 4)[0],
            aspp_width=_shape(shapes, aspp, 4)[0],
            aspp_kernels=tuple(kernel for _, kernel in kernels),
            patch_width=_shape(shapes, "decoder.ipt_blk5.conv1.weight", 4)[0],
            gradient_width=_shape(shapes, "decoder.gdt_convs_4.0.weight", 4)[0],
        )


SWIN_V1 = {
    "swin_v1_t": Architecture(96, (2, 2, 6, 2), (3, 6, 12, 24), 7, 384),
    "swin_v1_s": Architecture(96, (2, 2, 18, 2), (3, 6, 12, 24), 7, 384),
    "swin_v1_b": Architecture(128, (2, 2, 18, 2), (4, 8, 16, 32), 12, 512),
    "swin_v1_l": Architecture(192, (2, 2, 18, 2), (6, 12, 24, 48), 12, 768),
}
"""The released backbones by upstream's names, with upstream's decoder."""


def _shape(shapes: Shapes, name: str, rank: int) -> tuple[int, ...]:
    """The shape of tensor `name`, which must be there and have `rank` dimensions."""
    if name not in shapes:
        raise ArchitectureError(f"tensor {name} is missing: not a Swin v1 BiRefNet")
    shape = tuple(shapes[name])
    if len(shape) != rank:
        raise ArchitectureError(f"tensor {name} has shape {shape}, expected {rank} dimensions")
    return shape


def _depths(shapes: Shapes) -> tuple[int, ...]:
    """Transformer blocks per stage, counted from the names."""
    blocks = {(int(match[1]), int(match[2])) for name in shapes if (match := _BLOCK.match(name))}
    stages = {stage for stage, _ in blocks}
    if stages != {0, 1, 2, 3}:
        raise ArchitectureError(f"backbone stages {sorted(stages)} found, expected 0, 1, 2, 3")
    return tuple(1 + max(b for s, b in blocks if s == stage) for stage in range(4))


def _window(rows: int) -> int:
    """Window side from the rows of a relative position bias table, (2 * window - 1) ** 2."""
    side = isqrt(rows)
    if side * side != rows or side % 2 == 0:
        raise ArchitectureError(
            f"a relative position bias table has {rows} rows, which is no (2 * window - 1) ** 2"
        )
    return (side + 1) // 2
