"""Cut out photographs as a step of a Ray Data pipeline, here one of paths and shares of subject.

pip install 'birefnet-ort[cpu,ray]'
python examples/ray_pipeline.py examples/photos cutouts
"""

import sys
from pathlib import Path

import ray
from birefnet_apps.ray import Cutout

photos, output = Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute()
ray.init(address="local", include_dashboard=False, log_to_driver=False)  # a cluster's: its head

# Paths travel between machines, and each actor reads and writes the pictures themselves.
items = [
    {"path": str(photo), "target": str(output / f"{photo.stem}.png")}
    for photo in sorted(photos.glob("*.jpg"))
]
cutouts = ray.data.from_items(items).map_batches(
    Cutout,
    fn_constructor_kwargs={"model": "nano", "column": "path", "target": "target"},
    batch_size=16,
    num_cpus=1,
    compute=ray.data.ActorPoolStrategy(size=1),
)
for row in sorted(cutouts.iter_rows(), key=lambda row: row["path"]):
    said = row["error"] or f"{row['share']:.0%} of the picture is subject"
    print(f"{Path(row['path']).name}: {said}")
