"""Execution providers: what can be asked of them, and whether they can run here."""

from .placement import Placement
from .records import Cpu, Cuda, OpenVINO, Profile, Provider, TensorRT
from .request import Providers, parse_providers

__all__ = [
    "Cpu",
    "Cuda",
    "OpenVINO",
    "Placement",
    "Profile",
    "Provider",
    "Providers",
    "TensorRT",
    "parse_providers",
]
