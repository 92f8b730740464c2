"""Turn a checkpoint into a verified ONNX directory, then use it.

pip install 'birefnet-ort[cpu,export]'
python examples/export_checkpoint.py models/nano/model.safetensors nano-onnx
"""

import sys

from birefnet_export import export_onnx
from birefnet_runtime import Segmenter

checkpoint, directory = sys.argv[1:]

# Any BiRefNet; which one is read off its tensors, but for the size that it was trained at.
report = export_onnx(checkpoint, directory, trained_size=(192, 192))
print(f"{report.file}: {report.arch.backbone.name}, opset {report.opset}, {report.nodes} nodes")
if report.parity:  # against the reference in float64, at several sizes and batches
    print(f"logits differ by {report.parity.logits_max_abs:.1e} at most")

alpha = Segmenter(directory)("examples/photos/china.jpg")
print(f"{alpha.mean():.0%} of the picture is subject")
