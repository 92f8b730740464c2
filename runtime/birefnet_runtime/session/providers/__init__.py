"""Execution providers: what can be asked of them, and whether they can run here."""

from .node_placement import NodePlacement
from .options import Cpu, Cuda, OpenVINO, Profile, Provider, TensorRT
from .parse import Providers, parse_providers

__all__ = [
    "Cpu",
    "Cuda",
    "NodePlacement",
    "OpenVINO",
    "Profile",
    "Provider",
    "Providers",
    "TensorRT",
    "parse_providers",
]
