import os
from pathlib import Path

import pytest
from birefnet_runtime.batch.plan import plan_cutouts, read_list
from birefnet_runtime.errors import OutputError
from birefnet_runtime.images.write import format_named


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current directory; returns a function that makes files in it."""
    monkeypatch.chdir(tmp_path)

    def touch(*names: str) -> None:
        for name in names:
            path = Path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")

    return touch


def planned(inputs: list[str], output: str) -> dict[str, str]:
    made = plan_cutouts([Path(name) for name in inputs], Path(output))
    assert made.failures == ()
    return {str(job.source): str(job.target) for job in made.jobs}


def failures(inputs: list[str], output: str) -> list[str]:
    return [
        str(error) for error in plan_cutouts([Path(name) for name in inputs], Path(output)).failures
    ]


def test_one_file_to_a_file(here):
    here("a.jpg")

    assert planned(["a.jpg"], "b.png") == {"a.jpg": "b.png"}
    assert planned(["a.jpg"], "new/b.PNG") == {"a.jpg": "new/b.PNG"}


def test_one_file_to_a_directory(here):
    here("a.jpg", "there/x")

    assert planned(["a.jpg"], "there") == {"a.jpg": "there/a.png"}
    assert planned(["a.jpg"], "new") == {"a.jpg": "new/a.png"}


def test_another_suffix_is_refused(here):
    here("a.jpg")

    with pytest.raises(OutputError, match=r"b\.psd: results are \.png, \.webp, .* files"):
        planned(["a.jpg"], "b.psd")


@pytest.mark.parametrize(
    ("output", "name"), [("b.webp", "webp"), ("b.TIF", "tiff"), ("b.jpeg", "jpeg"), ("d", "png")]
)
def test_the_suffix_is_the_format(here, output, name):
    here("a.jpg")

    assert plan_cutouts([Path("a.jpg")], Path(output)).format.name == name


def test_a_format_that_is_asked_for_names_the_results(here):
    here("in/a.jpg", "in/b.png")

    made = plan_cutouts([Path("in")], Path("out"), format_named("tiff"))

    assert [str(job.target) for job in made.jobs] == ["out/a.tif", "out/b.tif"]
    with pytest.raises(OutputError, match=r"c\.png: that name says png, not webp"):
        plan_cutouts([Path("in/a.jpg")], Path("c.png"), format_named("webp"))


def test_standard_input_and_output(here):
    here("a.jpg", "folder/b.jpg")

    assert planned(["-"], "-") == {"-": "-"}
    assert planned(["-"], "out.webp") == {"-": "out.webp"}
    assert planned(["-"], "there") == {"-": "there/stdin.png"}
    assert planned(["a.jpg"], "-") == {"a.jpg": "-"}
    for several in (["a.jpg", "-"], ["folder"]):
        with pytest.raises(OutputError, match="for more than one file"):
            planned(several, "-")


@pytest.mark.parametrize(
    "content", [b"a b.jpg\nsub/c.png\n", b"a b.jpg\0sub/c.png\0", b"a b.jpg\r\n\nsub/c.png"]
)
def test_a_list_of_files(content):
    assert read_list(content) == [Path("a b.jpg"), Path("sub/c.png")]


def test_several_files_go_into_a_directory(here):
    here("x/a.jpg", "b.b.jpg")

    assert planned(["x/a.jpg", "b.b.jpg"], "out") == {
        "x/a.jpg": "out/a.png",
        "b.b.jpg": "out/b.b.png",
    }


@pytest.mark.parametrize("inputs", [["a.jpg", "b.jpg"], ["folder"]])
def test_several_files_do_not_go_into_one_file(here, inputs):
    here("a.jpg", "b.jpg", "folder/c.jpg", "taken.txt")

    for output in ("out.png", "taken.txt"):
        with pytest.raises(OutputError, match="for more than one file, --output is a directory"):
            planned(inputs, output)


def test_a_folder_keeps_its_tree_and_gives_images_only(here):
    here(
        "in/b.JPG",
        "in/sub/deep/c.webp",
        "in/a.png",
        "in/notes.txt",
        "in/.hidden.png",
        "in/.git/d.png",
    )

    assert planned(["in"], "out") == {
        "in/a.png": "out/a.png",
        "in/b.JPG": "out/b.png",
        "in/sub/deep/c.webp": "out/sub/deep/c.png",
    }


def test_results_inside_the_input_folder_are_not_inputs_of_the_next_run(here):
    here("in/a.jpg", "in/out/a.png")

    assert planned(["in"], "in/out") == {"in/a.jpg": "in/out/a.png"}


def test_same_name_with_another_suffix_keeps_both(here):
    here("in/a.jpg", "in/a.webp", "in/b.jpg")

    assert planned(["in"], "out") == {
        "in/a.jpg": "out/a.jpg.png",
        "in/a.webp": "out/a.webp.png",
        "in/b.jpg": "out/b.png",
    }


@pytest.mark.parametrize("inputs", [["x/a.jpg", "y/a.jpg"], ["x", "y"]])
def test_two_files_that_would_become_one_are_refused(here, inputs):
    here("x/a.jpg", "y/a.jpg")

    with pytest.raises(
        OutputError, match=r"x/a\.jpg and y/a\.jpg would both become out/a\.jpg\.png"
    ):
        planned(inputs, "out")


def test_a_file_named_twice_is_done_once(here):
    here("in/a.jpg")

    assert planned(["in/a.jpg", "in", "in/a.jpg"], "out") == {"in/a.jpg": "out/a.png"}


def test_an_empty_folder_is_a_failure(here):
    here("in/notes.txt", "a.jpg")

    assert failures(["in", "a.jpg"], "out") == ["in: no image files in this folder"]


@pytest.mark.parametrize("how", ["same name", "symlink", "hard link", "other spelling"])
def test_an_input_is_never_a_target(here, how):
    here("photos/a.png")
    output = {"same name": "photos/a.png", "other spelling": "photos/../photos/a.png"}.get(
        how, "b.png"
    )
    if how == "symlink":
        os.symlink("photos/a.png", "b.png")
    if how == "hard link":
        os.link("photos/a.png", "b.png")

    made = plan_cutouts([Path("photos/a.png")], Path(output))

    assert made.jobs == ()
    (failure,) = made.failures
    assert isinstance(failure, OutputError)
    assert "is an input; not overwritten" in str(failure)


def test_another_input_of_the_same_run_is_no_target_either(here):
    here("photos/a.jpg", "photos/a.jpg.png", "photos/b.jpg")

    made = plan_cutouts([Path("photos")], Path("photos"))

    assert [job.target for job in made.jobs] == [Path("photos/a.png"), Path("photos/b.png")]
    (failure,) = made.failures
    assert str(failure) == "photos/a.jpg.png: photos/a.jpg.png is an input; not overwritten"
