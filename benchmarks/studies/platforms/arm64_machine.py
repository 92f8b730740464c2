"""An Arm64 Linux to run Python on: QEMU's user mode, Debian's Python, wheels for aarch64.

Nothing is installed and no privilege is needed: packages are downloaded by apt into a folder, with
lists and cache of its own, and unpacked there; QEMU then finds the libraries through `-L`. From
version 8.2 on it shows an Arm `/proc/cpuinfo`; without one ONNX Runtime 1.31 and 1.32 crash.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from studies.platforms.debian import KEYRING, unpack

ROOT = Path(__file__).parents[3]
PYTHON = "3.13"
"""Debian's in that release."""
PACKAGES = {
    "arm64": (
        f"python{PYTHON} python{PYTHON}-minimal libpython{PYTHON}-minimal libpython{PYTHON}-stdlib "
        "libc6 libgcc-s1 libstdc++6 libexpat1 zlib1g libssl3t64 libbz2-1.0 libffi8 liblzma5 "
        "libsqlite3-0 libuuid1 libzstd1"
    ).split(),
    "amd64": ["qemu-user"],
}
"""By architecture: Python with what its modules link to, and the emulator for this machine."""
WHEEL_TAGS = ("manylinux2014_aarch64", "manylinux_2_27_aarch64", "manylinux_2_28_aarch64")


@dataclass(frozen=True, slots=True)
class Machine:
    """An emulated machine in a folder."""

    folder: Path

    @property
    def qemu(self) -> Path:
        return self.folder / "qemu-aarch64"

    def command(self, processor: str, *arguments: str) -> list[str]:
        """The command that runs Arm's Python on a processor of QEMU's list (`qemu -cpu help`)."""
        root = self.folder / "root"
        python = root / f"usr/bin/python{PYTHON}"
        return [*map(str, (self.qemu, "-L", root, "-cpu", processor, python)), *arguments]

    def environment(self) -> dict[str, str]:
        """Environment variables: none of the caller's but what finds the installed wheels."""
        return {
            "HOME": str(self.folder / "home"),
            "OMP_NUM_THREADS": "1",
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": os.pathsep.join(str(self.folder / name) for name in ("wheel", "site")),
        }


def prepare(folder: Path) -> Machine:
    """Download and unpack what is not there yet.

    Raises:
        SystemExit: this machine is not one that can; says what is missing.
    """
    machine = Machine(folder)
    if machine.qemu.exists():
        return machine
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        raise SystemExit("make arm: emulation is set up for Linux on x86-64 alone")
    for need in ("apt-get", "dpkg-deb", KEYRING):
        if not (Path(need).exists() or shutil.which(need)):
            raise SystemExit(f"make arm: needs Debian's tools and keyring; there is no {need}")
    shutil.rmtree(folder / "root", ignore_errors=True)
    for architecture, packages in PACKAGES.items():
        unpack(folder / architecture, architecture, packages)
    (folder / "arm64/root/lib").symlink_to("usr/lib")
    (folder / "arm64/root").rename(folder / "root")
    # Last: its being there says that all is.
    (folder / "amd64/root/usr/bin/qemu-aarch64").rename(machine.qemu)
    for architecture in PACKAGES:
        shutil.rmtree(folder / architecture)
    return machine


def install(machine: Machine, source: Path, extras: str) -> Path:
    """Build the wheel of a source tree, and install it with its dependencies for aarch64.

    Dependencies stay from one call to the next while pyproject.toml and constraints.txt do.

    Returns:
        the wheel.
    """
    dist, target = machine.folder / "dist", machine.folder / "wheel"
    for path in (dist, target):
        shutil.rmtree(path, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", dist, source], check=True)
    (wheel,) = dist.glob("*.whl")
    constraints = source / "constraints.txt"
    stamp = f"{(source / 'pyproject.toml').read_text()}{constraints.read_text()}{extras}"
    kept = machine.folder / "site.txt"
    foreign = [arg for tag in WHEEL_TAGS for arg in ("--platform", tag)]
    foreign += ["--python-version", PYTHON, "--only-binary=:all:", "--constraint", str(constraints)]
    if not kept.exists() or kept.read_text() != stamp:
        print(f"installing the aarch64 wheels that birefnet-ort[{extras}] needs", flush=True)
        site = machine.folder / "site"
        shutil.rmtree(site, ignore_errors=True)
        wanted = f"{wheel}[{extras}]"
        subprocess.run([*pip, "install", "--target", site, *foreign, wanted], check=True)
        for ours in (*site.glob("birefnet_*"), site / "bin"):
            shutil.rmtree(ours)  # the wheel itself lies apart: it is new each time
        kept.write_text(stamp)
    subprocess.run([*pip, "install", "--no-deps", "--target", target, *foreign, wheel], check=True)
    return wheel
