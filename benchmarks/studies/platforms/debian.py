"""Packages of a newer Debian in a folder: nothing is installed and no privilege is needed.

`python -m studies.platforms.debian FOLDER ARCHITECTURE PACKAGE...` unpacks them under FOLDER/root.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

DEBIAN = "trixie"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def mirror() -> str:
    """The address of this machine's own mirror of Debian.

    Raises:
        SystemExit: it has none.
    """
    ask = ("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages")
    done = subprocess.run(ask, capture_output=True, text=True, check=True)
    for line in sorted(set(done.stdout.split())):
        if line.rstrip("/").endswith("/debian"):
            return line
    raise SystemExit("needs a mirror of Debian among the sources of apt; there is none")


def unpack(folder: Path, architecture: str, packages: list[str]) -> None:
    """Download packages with an apt that knows nothing of this system, and unpack them."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("state/lists/partial", "cache/archives/partial", "debs", "root", "none"):
        (folder / name).mkdir(parents=True)
    (folder / "state/status").touch()
    (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror()} {DEBIAN} main\n")
    (folder / "apt.conf").write_text(
        f'Dir::State "{folder}/state"; Dir::State::status "{folder}/state/status";\n'
        f'Dir::Cache "{folder}/cache"; Dir::Etc::sourcelist "{folder}/sources.list";\n'
        f'Dir::Etc::sourceparts "{folder}/none"; Dir::Etc::preferencesparts "{folder}/none";\n'
        f'APT::Architecture "{architecture}"; APT::Architectures {{ "{architecture}"; }};\n'
        'Acquire::Languages "none"; APT::Sandbox::User "";\n'
    )
    apt = {**os.environ, "APT_CONFIG": str(folder / "apt.conf")}
    print(f"downloading {len(packages)} packages of Debian {DEBIAN} for {architecture}", flush=True)
    for verb in (["update"], ["download", *packages]):
        subprocess.run(["apt-get", "-qq", *verb], cwd=folder / "debs", env=apt, check=True)
    for package in (folder / "debs").iterdir():
        subprocess.run(["dpkg-deb", "-x", package, folder / "root"], check=True)


if __name__ == "__main__":
    unpack(Path(sys.argv[1]).absolute(), sys.argv[2], sys.argv[3:])
