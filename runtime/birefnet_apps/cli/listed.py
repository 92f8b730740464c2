"""What `birefnet --help` says of our own commands, so that none is loaded to be listed.

Each is the first sentence of the command's own help; a test holds them together.
"""

LISTED = {
    "birefnet_benchmarks.cli.bench:bench": (
        "Measure configurations of BiRefNet: latency, memory, accuracy."
    ),
    "birefnet_benchmarks.cli.evaluate:evaluate": (
        "Score a model's masks against masks that are known."
    ),
    "birefnet_export.cli.export:export": (
        "Turn a BiRefNet CHECKPOINT into one ONNX file for any batch and size."
    ),
    "birefnet_export.cli.inspect:inspect": (
        "Say what is in FILE: a checkpoint, an .onnx, or a directory that holds one of them."
    ),
    "birefnet_export.cli.verify:verify": (
        "Run MODEL and a REFERENCE in PyTorch on the same tensors and images, and compare."
    ),
    "birefnet_apps.cli.cutout:cutout": (
        "Cut the subject out of images: files, whole folders, - for standard input."
    ),
    "birefnet_apps.cli.deploy.triton:triton": (
        "Write a model repository for NVIDIA's Triton Inference Server, 26.07 or later."
    ),
    "birefnet_apps.cli.deploy.warm:warm": (
        "Do what MODEL's first opening on a provider takes ahead, so that no user waits for it."
    ),
    "birefnet_apps.cli.doctor:doctor": "Say what this machine can run on, by trying it.",
    "birefnet_apps.cli.models:models": (
        "List the models that are known by name and what is in the cache, or show everything about "
        "some."
    ),
    "birefnet_apps.cli.serve:serve_command": (
        "Cut out what is sent by HTTP, as remove.bg's and rembg's servers do."
    ),
    "birefnet_apps.cli.video:video": (
        "Cut the subject out of a video, with ffmpeg, into a video with alpha; - for standard "
        "input."
    ),
}
"""By the value of the entry point; a command that is not ours is loaded for its own words."""
