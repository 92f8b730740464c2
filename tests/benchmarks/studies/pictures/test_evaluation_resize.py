import numpy as np
import torch
from PIL import Image
from studies.pictures.evaluation_resize import markdown_table, measure, with_aligned_corners


def test_masks_are_enlarged_as_pytorch_does():
    alpha = np.random.default_rng(3).random((12, 16), np.float32)

    enlarged = with_aligned_corners(alpha, (40, 63))

    expected = torch.nn.functional.interpolate(
        torch.from_numpy(alpha)[None, None], (40, 63), mode="bilinear", align_corners=True
    )
    np.testing.assert_allclose(enlarged, expected[0, 0].numpy(), atol=0.02)  # remap's 1/32 steps


def test_both_ways_are_scored(tmp_path):
    for folder, pixels in (("images", (240, 20, 20)), ("masks", (255, 255, 255))):
        (tmp_path / folder).mkdir()
        image = Image.new("RGB", (96, 64), "black")
        image.paste(pixels, (24, 16, 72, 48))
        image.save(tmp_path / folder / "square.png")

    measured = measure(tmp_path / "images", tmp_path / "masks")

    assert measured["photographs"] == 1
    assert set(measured["scores"]) == {"birefnet evaluate", "upstream's resizing"}
    stored = {"measured": measured, "environment": {"packages": {"onnxruntime": "1.31.1"}}}
    assert "nano on 1 photographs" in markdown_table(stored)
