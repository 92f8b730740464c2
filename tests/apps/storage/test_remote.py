"""Files of fsspec's: the file system in memory, one that renames, drivers that are missing."""

import subprocess
import sys

import fsspec
import pytest
from birefnet_apps.files.plan import plan_cutouts
from birefnet_apps.storage import InMemory, RemotePath, file_at, remote
from birefnet_runtime.errors import ImageError, MissingExtraError, OutputError
from fsspec.implementations.memory import MemoryFileSystem


def put(*urls: str) -> None:
    for url in urls:
        fsspec.filesystem("memory").pipe_file(url, b"x")


def planned(*inputs: str, output: str = "memory://out") -> dict[str, str]:
    made = plan_cutouts([RemotePath(url) for url in inputs], RemotePath(output))
    jobs = {job.source.url: job.target.url for job in made.jobs}
    assert not made.failures
    return jobs


def refusals(*inputs: str, output: str = "memory://out") -> list[str]:
    made = plan_cutouts([RemotePath(url) for url in inputs], RemotePath(output))
    for _ in made.jobs:
        pass
    return [str(failure.error) for failure in made.failures]


def test_a_folder_keeps_its_tree(memory):
    put("memory://in/b.JPG", "memory://in/sub/c.webp", "memory://in/.d.png", "memory://in/e.txt")

    assert planned("memory://in") == {
        "memory://in/b.JPG": "memory://out/b.png",
        "memory://in/sub/c.webp": "memory://out/sub/c.png",
    }


def test_names_are_those_of_local_files(memory):
    put(*(f"memory://in/{name}" for name in ("a.1.jpg", "a.jpg", "a.webp", "a.x.jpg", "b.jpg")))
    put("memory://in/a/a.jpg")

    assert planned("memory://in") == {
        "memory://in/a.1.jpg": "memory://out/a.1.png",
        "memory://in/a.jpg": "memory://out/a.jpg.png",
        "memory://in/a.webp": "memory://out/a.webp.png",
        "memory://in/a.x.jpg": "memory://out/a.x.png",
        "memory://in/b.jpg": "memory://out/b.png",
        "memory://in/a/a.jpg": "memory://out/a/a.png",
    }


def test_two_files_that_would_become_one(memory):
    put("memory://in/a.jpg", "memory://in/a.jpg.tif", "memory://in/a.webp")

    assert refusals("memory://in") == [
        "memory://in/a.jpg: its result would be memory://out/a.jpg.png, which is that of "
        "memory://in/a.jpg.tif"
    ]


def test_results_inside_and_beside_inputs(memory):
    put("memory://in/a.jpg", "memory://in/out/a.png", "memory://in/b.png")

    assert planned("memory://in", output="memory://in/out") == {
        "memory://in/a.jpg": "memory://in/out/a.png",
        "memory://in/b.png": "memory://in/out/b.png",
    }
    put("memory://in/a.jpg.png", "memory://in/a.jpg.png.png")
    made = plan_cutouts([RemotePath("memory://in")], RemotePath("memory://in/"))
    jobs = list(made.jobs)
    assert [str(job.source) for job in jobs[:2]] == ["memory://in/a.jpg", "memory://in/b.png"]
    assert not any(job.overwrite for job in jobs)


def test_above_its_inputs_nothing_is_overwritten(memory):
    put("memory://x/in/a.jpg", "memory://x/in/in/b.jpg")

    jobs = plan_cutouts([RemotePath("memory://x/in")], RemotePath("memory://x")).jobs

    assert {job.target.url: job.overwrite for job in jobs} == {
        "memory://x/a.png": True,
        "memory://x/in/b.png": False,
    }


def test_several_folders_and_files(memory, tmp_path):
    put("memory://x/a.jpg", "memory://y/a.jpg", "memory://y/b.jpg")

    assert planned("memory://x", "memory://y", "memory://y/b.jpg") == {
        "memory://x/a.jpg": "memory://out/x/a.png",
        "memory://y/a.jpg": "memory://out/y/a.png",
        "memory://y/b.jpg": "memory://out/b.png",
    }
    (job,) = plan_cutouts([RemotePath("memory://x")], tmp_path).jobs
    assert job.target == tmp_path / "a.png"


def test_an_input_is_never_a_target(memory):
    put("memory://x/a.png")

    assert refusals("memory://x/a.png", output="memory://x/a.png") == [
        "memory://x/a.png: memory://x/a.png is an input; not overwritten"
    ]


def test_an_empty_folder(memory):
    put("memory://in/notes.txt")

    assert refusals("memory://in") == ["memory://in: no image files in this folder"]


@pytest.mark.parametrize("key", ["a//b.jpg", "../b.jpg", "x/../../b.jpg", "./b.jpg"])
def test_keys_do_not_lead_out_of_the_folder(monkeypatch, tmp_path, key):
    monkeypatch.setattr(remote.RemoteFile, "names_below", lambda self: iter([key, "ok.jpg"]))
    monkeypatch.setattr(remote.RemoteFile, "is_folder", lambda self: True)

    made = plan_cutouts([RemotePath("memory://in")], tmp_path)

    assert [job.target for job in made.jobs] == [tmp_path / "ok.png"]
    assert "its key has an empty part, . or .. in it" in str(made.failures[0].error)


def test_reading_and_writing(memory):
    place = RemotePath("memory://there/a.bin")
    file = file_at(place)
    assert not file.found()
    with pytest.raises(ImageError, match=r"^memory://there/a\.bin: no such object$"):
        file.read()

    file.write(b"content")

    assert file.read() == b"content"
    assert file.found()
    assert not file.is_folder()
    assert file_at(RemotePath("memory://there")).is_folder()


class Renaming(MemoryFileSystem):
    """A file system that writes piece by piece, as those of servers do."""

    protocol = "renaming"

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("renaming:"))

    def pipe_file(self, path, value, **options):
        super().pipe_file(path, value[:3])
        if value.startswith(b"bad"):
            raise OSError("the connection was lost: renaming://me:secret@host/x")
        super().pipe_file(path, value)


def test_elsewhere_a_file_gets_its_name_when_it_is_whole(memory):
    fsspec.register_implementation("renaming", Renaming, clobber=True)
    remote._file_system.cache_clear()
    fs = fsspec.filesystem("renaming")

    file_at(RemotePath("renaming:///d/a.bin")).write(b"good bytes")
    with pytest.raises(OutputError, match="the connection was lost") as caught:
        file_at(RemotePath("renaming:///d/b.bin")).write(b"bad bytes")

    assert fs.cat_file("/d/a.bin") == b"good bytes"
    assert [path.rpartition("/")[2] for path in fs.find("/d")] == ["a.bin"]
    assert "\n" not in str(caught.value)


def test_texts_of_drivers_lose_the_urls_secrets():
    place = RemotePath("sftp://me:secret@host/a?b")

    text = remote._without_secrets(place, "can't open sftp://me:secret@host/a?b as me:secret")

    assert "secret" not in text


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("gs://b/a.jpg", "gs:// needs gcsfs; install it with: pip install gcsfs"),
        ("az://b/a.jpg", "az:// needs adlfs; install it with: pip install adlfs"),
    ],
)
def test_a_missing_driver_is_named(monkeypatch, url, text):
    def missing(*_, **__):
        raise ImportError("Install it")

    remote._file_system.cache_clear()
    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)

    with pytest.raises(MissingExtraError, match=text):
        file_at(RemotePath(url)).read()


def test_a_protocol_that_nobody_knows_is_a_line():
    with pytest.raises(ImageError, match=r"^nosuch://b/a\.jpg: can't be opened: "):
        file_at(RemotePath("nosuch://b/a.jpg")).read()


def test_in_memory():
    source, target = InMemory("row 3", b"x"), InMemory("result")

    assert file_at(source).read() == b"x"
    file_at(target).write(b"y")
    assert target.content == b"y"
    with pytest.raises(ImageError, match="row 3: the file is"):
        file_at(InMemory("row 3")).read()


def test_local_paths_never_meet_fsspec(tmp_path):
    program = (
        "import sys; from birefnet_apps.cli.main import main\n"
        "try: main(['cutout', 'examples/photos', '-o', sys.argv[1], '--size', '96'])\n"
        "except SystemExit as error: assert not error.code\n"
        "assert not {'fsspec', 'ray', 'pyarrow'} & set(sys.modules)"
    )

    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)


def test_only_what_a_format_of_results_names_is_taken_for_a_result(memory):
    put("memory://in/a.jpg", "memory://in/a.jpg.bmp", "memory://in/a.jpg.png")

    made = plan_cutouts([RemotePath("memory://in")], RemotePath("memory://in"))

    assert [job.source.name for job in made.jobs] == ["a.jpg.bmp", "a.jpg"]


def test_a_folder_whose_name_begins_as_the_outputs_is_an_input(memory):
    put("memory://p/out/a.jpg", "memory://p/out-takes/b.jpg")

    assert planned("memory://p", output="memory://p/out") == {
        "memory://p/out-takes/b.jpg": "memory://p/out/out-takes/b.png"
    }


def test_a_store_is_not_asked_whether_a_photograph_is_a_folder(memory, monkeypatch):
    monkeypatch.setattr(remote.RemoteFile, "is_folder", lambda self: pytest.fail("asked"))

    assert planned("memory://in/A.JPG") == {"memory://in/A.JPG": "memory://out/A.png"}


@pytest.mark.parametrize("size", [10, 11])
def test_an_object_beyond_the_bound_is_refused_and_never_cut(memory, monkeypatch, size):
    monkeypatch.setattr(remote, "MOST_PIPE_BYTES", 10)
    monkeypatch.setattr("birefnet_apps.storage.base.MOST_PIPE_BYTES", 10)
    fsspec.filesystem("memory").pipe_file("memory://a.bin", bytes(size))

    if size == 10:
        assert file_at(RemotePath("memory://a.bin")).read() == bytes(10)
    else:
        with pytest.raises(ImageError, match="more than"):
            file_at(RemotePath("memory://a.bin")).read()


def test_keys_that_differ_before_an_at_are_different():
    from birefnet_apps.storage import absolute

    assert absolute(RemotePath("s3://b/x@2.jpg")) != absolute(RemotePath("s3://b/y@2.jpg"))
    assert absolute(RemotePath("s3://me:secret@b/x")) == "s3://b/x"


class OfContainers:
    """A driver as those of Azure and Google: what is missing is one FileNotFoundError for all."""

    def __init__(self, *containers):
        self._containers = containers

    def _strip_protocol(self, url):
        return url.partition("://")[2]

    def exists(self, path):
        return path in self._containers

    def info(self, path, **_):
        raise FileNotFoundError(path)

    cat_file = open = info


@pytest.mark.parametrize("scheme", ["az", "gs"])
@pytest.mark.parametrize(
    ("container", "reason"), [("there", "no such object"), ("gone", "no such bucket")]
)
def test_a_missing_container_is_told_from_a_missing_object(monkeypatch, scheme, container, reason):
    monkeypatch.setattr(remote, "_file_system", lambda *_: OfContainers("there"))

    with pytest.raises(ImageError, match=f"{scheme}://{container}/a.jpg: {reason}"):
        file_at(RemotePath(f"{scheme}://{container}/a.jpg")).read()
