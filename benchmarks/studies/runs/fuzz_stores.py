"""An object store that lies, fails and has odd names, for `studies.runs.fuzz_cases`.

What it does is drawn from the number that is the first part of its URLs: `odd://17/in/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import fsspec
from fsspec.spec import AbstractFileSystem
from PIL import Image

PROTOCOL = "odd"
KEYS = (
    *("a.jpg", "a.webp", "A.JPG", "sub/b.png", "sub//c.png", "../d.jpg", "e/../f.jpg", "./g.jpg"),
    *("-h.jpg", " i.jpg ", "j\n.jpg", "k\x1b[31m.png", "\u65e5\u672c.jpg", "l?x=1.jpg", "m#n.jpg"),
    *("o%20p.jpg", "q" * 300 + ".jpg", ".hidden.jpg", "r.jpg/", "s.txt", "t.jpg.png", "u.tif"),
    *("v\udcff.jpg", "w*.jpg", "x?versionId=1.jpg", "y.png"),
)
ERRORS = (
    *(OSError("Please try again"), FileNotFoundError("gone"), PermissionError("no"), KeyError("x")),
    *(ValueError("\x1b[31mred\nTraceback"), TimeoutError(), RuntimeError("loop"), EOFError("")),
)


class OddStore(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """What the number in its URLs draws: keys, contents, and how often which call fails."""

    protocol = PROTOCOL
    cachable = False
    written: ClassVar[dict[str, bytes]] = {}

    def _drawn(self, path: str) -> tuple[Random, str]:
        root, _, key = self._strip_protocol(path).partition("/")
        return Random(f"{root} {key}"), key

    def _keys(self, path: str) -> list[str]:
        root = self._strip_protocol(path).partition("/")[0]
        random = Random(root)
        return random.sample(KEYS, random.randrange(len(KEYS)))

    def _may_fail(self, random: Random, share: float = 0.08) -> None:
        if random.random() < share:
            raise random.choice(ERRORS)

    def walk(self, path: str, *_: Any, **named: Any) -> Iterator[tuple[str, list[str], list[str]]]:
        """One page after another, of which one may break."""
        random, _key = self._drawn(path)
        top = self._strip_protocol(path).rstrip("/")
        for key in self._keys(path):
            self._may_fail(random, 0.02)
            folder, _slash, name = key.rpartition("/")
            yield f"{top}/{folder}" if folder else top, [], [name]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Of a folder, or of an object whose size may be wrong."""
        random, key = self._drawn(path)
        self._may_fail(random)
        if path in self.written:
            return {"name": path, "size": len(self.written[path]), "type": "file"}
        if key.rstrip("/") in {"in", "out", ""}:
            return {"name": path, "size": 0, "type": "directory"}
        if key.startswith("out"):
            raise FileNotFoundError(path)
        return {"name": path, "size": random.choice([0, 1, 10**12, None]), "type": "file"}

    def cat_file(self, path: str, **_: Any) -> bytes:
        """A photograph, a part of one, nothing, or something else."""
        random, _key = self._drawn(path)
        self._may_fail(random)
        return random.choice(
            [b"", b"x", self.photo[: random.randrange(len(self.photo))]] + [self.photo] * 4
        )

    def pipe_file(self, path: str, value: bytes, **_: Any) -> None:
        random, _key = self._drawn(path)
        self._may_fail(random)
        self.written[path] = value

    def mv(self, path1: str, path2: str, **_: Any) -> None:
        self.written[path2] = self.written.pop(path1)

    def rm_file(self, path: str) -> None:
        self.written.pop(path, None)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        self._may_fail(self._drawn(path)[0])

    photo: ClassVar[bytes] = b""


def register() -> None:
    """Have fsspec know it."""
    import io

    stream = io.BytesIO()
    Image.linear_gradient("L").resize((96, 64)).convert("RGB").save(stream, "JPEG")
    OddStore.photo = stream.getvalue()
    fsspec.register_implementation(PROTOCOL, OddStore, clobber=True)


def store_case(random: Random, folder: Path) -> list[str]:
    """A folder, a list or an object of a store, cut out into a store or here."""
    root = f"{PROTOCOL}://{random.randrange(10**6)}"
    source = random.choice([[f"{root}/in"], [f"{root}/in/"], [f"{root}/in/{random.choice(KEYS)}"]])
    if random.random() < 0.2:
        names = [f"{root}/in/{key}" for key in random.sample(KEYS, 6)]
        (folder / "list").write_text("\n".join(names), errors="surrogateescape")
        source = ["--files-from", "list"]
    target = random.choice([f"{root}/out", f"{root}/in", "out", f"{root}/out/"])
    extra = random.choice([[], ["--skip-existing"], ["--json"], ["--records", "jsonl"]])
    return ["cutout", *source, "--output", target, "--size", "64", *extra]
