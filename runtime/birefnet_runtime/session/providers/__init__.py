"""Execution providers: what can be asked of them, and whether they can run here."""

from .node_placement import NodePlacement
from .options import Cpu, Cuda, Named, OpenVINO, Profile, Provider, TensorRT
from .parse import Providers, parse_providers, split_providers

__all__ = [
    "Cpu",
    "Cuda",
    "Named",
    "NodePlacement",
    "OpenVINO",
    "Profile",
    "Provider",
    "Providers",
    "TensorRT",
    "parse_providers",
    "split_providers",
]
