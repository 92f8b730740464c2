"""Names that checkpoints, repositories and exports have by agreement, each written once."""

import re

WEIGHTS_FILE = "model.safetensors"
"""The file that a checkpoint's directory holds, as on the hub."""
PREPROCESSOR_FILE = "preprocessor_config.json"
"""The file beside a model or a checkpoint that states its size and normalization, as on the hub."""
CHECKPOINT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
"""`OWNER/NAME`, as the hub names its repositories."""
METADATA_PREFIX = "birefnet."
"""What the keys of this project's metadata in an `.onnx` begin with."""
