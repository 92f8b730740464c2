"""Ask a Triton server for the alpha of photographs, over HTTP, or gRPC with tritonclient[grpc].

pip install 'birefnet-ort[cpu]'
python examples/triton_client.py http://localhost:8000 nano-pixels examples/photos/flower.jpg
"""

import json
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
from PIL import Image, ImageOps


def over_http(server: str, model: str, image: np.ndarray) -> np.ndarray:
    ends = {"name": "image", "datatype": "UINT8", "shape": image.shape}
    ends["parameters"] = {"binary_data_size": image.nbytes}
    outputs = [{"name": "alpha", "parameters": {"binary_data": True}}]
    header = json.dumps({"inputs": [ends], "outputs": outputs}).encode()
    request = Request(f"{server}/v2/models/{model}/infer", header + image.tobytes())
    request.add_header("Inference-Header-Content-Length", str(len(header)))
    with urlopen(request, timeout=60) as answer:
        start = int(answer.headers["Inference-Header-Content-Length"])
        return np.frombuffer(answer.read()[start:], np.uint8).reshape(image.shape[:3])


def over_grpc(server: str, model: str, image: np.ndarray) -> np.ndarray:
    from tritonclient import grpc

    pixels = grpc.InferInput("image", image.shape, "UINT8").set_data_from_numpy(image)
    return grpc.InferenceServerClient(server).infer(model, [pixels]).as_numpy("alpha")


server, model, *photos = sys.argv[1:]
for photo in map(Path, photos):
    image = np.asarray(ImageOps.exif_transpose(Image.open(photo)).convert("RGB"))[None]
    ask = over_http if server.startswith("http") else over_grpc  # gRPC: localhost:8001
    Image.fromarray(ask(server, model, image)[0]).save(f"{photo.stem}-alpha.png")
