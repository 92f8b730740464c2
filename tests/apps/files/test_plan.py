import os
from pathlib import Path

import pytest
from birefnet_apps.files.plan import plan_cutouts, read_list
from birefnet_runtime.errors import ImageError, OutputError
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
    made = plan_cutouts([Path(name) for name in inputs], Path(output))
    return [str(failure.error) for failure in made.failures]


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
    with pytest.raises(OutputError, match=r"c\.png: .* png, not webp"):
        plan_cutouts([Path("in/a.jpg")], Path("c.png"), format_named("webp"))


def test_standard_input_and_output(here):
    here("a.jpg", "folder/b.jpg")

    assert planned(["-"], "-") == {"-": "-"}
    assert planned(["-"], "out.webp") == {"-": "out.webp"}
    assert planned(["-"], "there") == {"-": "there/stdin.png"}
    assert planned(["a.jpg"], "-") == {"a.jpg": "-"}
    for several in (["a.jpg", "-"], ["folder"]):
        with pytest.raises(OutputError, match="than one file"):
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
        with pytest.raises(OutputError, match="--output is a directory"):
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
def test_files_of_one_name_in_several_folders_keep_their_folder(here, inputs):
    here("x/a.jpg", "y/a.jpg")

    assert planned(inputs, "out") == {"x/a.jpg": "out/x/a.png", "y/a.jpg": "out/y/a.png"}


def test_two_files_that_would_become_one_fail_one_and_no_others(here):
    """The second keeps its suffix beside `a.webp`, and so would be what the first is named."""
    here("x/a.jpg.tif", "y/a.jpg", "y/a.webp")

    made = plan_cutouts([Path("x/a.jpg.tif"), Path("y")], Path("out"))

    assert [str(job.target) for job in made.jobs] == ["out/a.jpg.png", "out/a.webp.png"]
    (failure,) = made.failures
    assert failure.source == Path("y/a.jpg")
    assert str(failure.error) == (
        "y/a.jpg: its result would be out/a.jpg.png, which is that of x/a.jpg.tif"
    )


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
    assert failure.source == Path("photos/a.png")
    assert isinstance(failure.error, OutputError)
    assert "an input; not" in str(failure.error)


def test_another_input_of_the_same_run_is_no_target_either(here):
    here("photos/a.jpg", "photos/a.jpg.png", "photos/a.webp")
    inputs = [Path("photos/a.jpg"), Path("photos/a.jpg.png"), Path("photos/a.webp")]

    made = plan_cutouts(inputs, Path("photos"))

    assert [job.target for job in made.jobs] == [Path("photos/a.webp.png")]
    assert [str(failure.error) for failure in made.failures] == [
        "photos/a.jpg: photos/a.jpg.png is an input; not overwritten",
        "photos/a.jpg.png: photos/a.jpg.png is an input; not overwritten",
    ]


def test_in_place_results_are_no_inputs_and_nothing_is_overwritten(here):
    here("photos/a.jpg", "photos/b.webp", "photos/sub/c.png")
    targets = {
        "photos/a.jpg": "photos/a.jpg.png",
        "photos/b.webp": "photos/b.webp.png",
        "photos/sub/c.png": "photos/sub/c.png.png",
    }

    assert planned(["photos"], "photos") == targets
    here(*targets.values())
    for output in ("photos", "./photos/", "photos/sub/.."):
        again = plan_cutouts([Path("photos")], Path(output))
        assert [str(job.source) for job in again.jobs] == list(targets)
        assert not any(job.overwrite for job in again.jobs)
    (job,) = plan_cutouts([Path("photos/sub")], Path("out")).jobs[:1]
    assert job.overwrite


def test_names_that_cannot_be_asked_for_are_files_that_fail_when_read(here, monkeypatch):
    here("a.jpg")
    long = 300 * "a" + ".jpg"

    assert planned(["a.jpg", long], "out") == {
        "a.jpg": "out/a.png",
        long: f"out/{300 * 'a'}.png",
    }
    assert planned(["a.jpg"], 300 * "b") == {"a.jpg": f"{300 * 'b'}/a.png"}

    real = os.stat

    def stat(path, *arguments, **options):  # the tests may run as root, who may search everything
        if "locked" in os.fspath(path):
            raise PermissionError(13, "Permission denied", path)
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", stat)
    assert planned(["locked/a.jpg"], "out") == {"locked/a.jpg": "out/a.png"}
    assert planned(["a.jpg"], "locked/out") == {"a.jpg": "locked/out/a.png"}


def test_a_pipe_in_a_folder_is_a_line_and_one_that_is_named_is_read(here):
    here("in/a.jpg")
    os.mkfifo("in/pipe.png")

    assert failures(["in"], "out") == [
        "in/pipe.png: no file, but a pipe or device; name it by itself"
    ]
    assert planned(["in/pipe.png"], "out") == {"in/pipe.png": "out/pipe.png"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16-le", "utf-16-be", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lists_of_windows_programs(encoding, end):
    mark = "\ufeff" if encoding.endswith(("le", "be")) else ""
    content = (mark + f"a b.jpg{end}{end}süß/\U0001f600.png{end}").encode(encoding)

    assert read_list(content) == [Path("a b.jpg"), Path("süß/\U0001f600.png")]


def test_a_list_that_is_cut_short_is_an_error():
    with pytest.raises(ImageError, match=r"not UTF-16"):
        read_list("\ufeffa.jpg".encode("utf-16-le")[:-1])


def test_names_that_are_no_text_stay_what_they_are():
    assert os.fsencode(read_list(b"\xff\xe9.jpg\n")[0]) == b"\xff\xe9.jpg"


def test_only_what_a_format_of_results_names_is_taken_for_a_result(here):
    here("in/a.jpg", "in/a.jpg.gif", "in/a.jpg.png")

    assert planned(["in"], "in") == {
        "in/a.jpg": "in/a.jpg.png",
        "in/a.jpg.gif": "in/a.jpg.gif.png",
    }


def test_results_behind_a_link_are_no_inputs(here):
    here("in/a.jpg", "in/out/a.png")
    os.symlink("in/out", "link")

    assert planned(["in"], "link") == {"in/a.jpg": "link/a.png"}


def test_blanks_of_names_are_kept():
    assert read_list(b" a.jpg\nb.jpg \n") == [Path(" a.jpg"), Path("b.jpg ")]
