import os
from pathlib import Path

import pytest
from birefnet_apps.files.jobs import InputFile, name_results, origin_mark
from birefnet_apps.storage import LocalFile


def named(*paths: str, directory: Path = Path("out")) -> list[str]:
    files = [InputFile(Path(path), Path(Path(path).name)) for path in paths]
    return [str(name) for name in name_results(files, directory, ".png")]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a.jpg", "b.b.webp"], ["a.png", "b.b.png"]),
        (["in/a.jpg", "in/a.webp", "in/b.jpg"], ["a.jpg.png", "a.webp.png", "b.png"]),
        (["x/a.jpg", "y/a.jpg"], ["x/a.png", "y/a.png"]),
        (["x/1/a.jpg", "y/1/a.jpg", "z/a.jpg"], ["x/1/a.png", "y/1/a.png", "HERE/z/a.png"]),
        (["x/a.jpg", "x/a.webp", "y/a.jpg"], ["x/a.jpg.png", "x/a.webp.png", "y/a.png"]),
        (["a.jpg", "x/a.jpg"], ["HERE/a.png", "x/a.png"]),
        (["A.jpg", "a.webp"], ["A.jpg.png", "a.webp.png"]),
        (["../z/a.jpg", "x/../y/a.jpg"], ["z/a.png", "y/a.png"]),
    ],
)
def test_names_are_short_and_tell_files_apart(paths, names, tmp_path, monkeypatch):
    (tmp_path / "HERE").mkdir()
    monkeypatch.chdir(tmp_path / "HERE")

    assert named(*paths) == names


def test_the_tree_below_each_folder_stays():
    files = [
        InputFile(Path("x/sub/a.jpg"), Path("sub/a.jpg")),
        InputFile(Path("y/sub/a.jpg"), Path("sub/a.jpg")),
        InputFile(Path("y/sub/b.jpg"), Path("sub/b.jpg")),
    ]

    assert [str(name) for name in name_results(files, Path("out"), ".png")] == [
        "x/sub/a.png",
        "y/sub/a.png",
        "sub/b.png",
    ]


@pytest.fixture
def there(tmp_path, monkeypatch):
    """A current directory; returns a function that makes files."""
    monkeypatch.chdir(tmp_path)

    def touch(*names: str) -> None:
        for name in names:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_bytes(b"x")

    return touch


@pytest.mark.parametrize("later", ["in/a.avif", "in/a.webp", "elsewhere/a.jpg"])
def test_a_sibling_that_appears_later_changes_no_name(there, later):
    there("in/a.jpg", "out/a.png", later)
    LocalFile(Path("out/a.png")).mark(origin_mark(os.path.abspath("in/a.jpg"), Path("in/a.jpg")))

    kept, other = named("in/a.jpg", later)

    assert kept == "a.png"
    assert other == ("elsewhere/a.png" if later.startswith("else") else f"{later[3:]}.png")
    there(f"out/{other}")
    assert named("in/a.jpg", later) == [kept, other]


@pytest.mark.parametrize("order", [1, -1])
def test_a_result_of_which_of_two_files_is_not_known_is_nobodys(there, order):
    """Whenever each came: copies and archives have other times than their originals."""
    there(*["in/a.jpg", "in/a.webp", "out/a.png"][::order])

    assert named("in/a.jpg", "in/a.webp") == ["a.jpg.png", "a.webp.png"]


def test_files_that_nothing_tells_apart_keep_one_name():
    """The plan refuses the second."""
    assert named("in/a.jpg", "in/a.jpg") == ["a.jpg.png", "a.jpg.png"]
