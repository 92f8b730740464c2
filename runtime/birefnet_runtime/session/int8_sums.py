"""int8 files whose sums saturate on processors without VNNI."""

from collections.abc import Mapping

from birefnet_models.names import METADATA_PREFIX

from ..machine.processor import read_processor


def saturation_notes(properties: Mapping[str, str]) -> list[str]:
    """A line where a file's int8 weights are too large for the processor at hand.

    Without VNNI ONNX Runtime adds two products u8 x s8 in a saturating int16. An export states as
    `birefnet.int8_pair_limit` that neighboring weights are small enough for that; version 0.1.0
    had no such weights.

    Args:
        properties: the file's metadata_props.
    """
    is_int8 = properties.get(f"{METADATA_PREFIX}precision") == "int8"
    if not is_int8 or f"{METADATA_PREFIX}int8_pair_limit" in properties:
        return []
    processor = read_processor()
    if "AVX2" not in processor.features or "VNNI" in processor.features:
        return []
    return [
        f"sums of this int8 file saturate on {processor.model}, which lacks VNNI, and masks are "
        "off; export it anew (birefnet export --precision int8), or use fp32"
    ]
