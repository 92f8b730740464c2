"""Options of the engines; Ray itself is in tests/apps/ray."""

import pytest
from birefnet_apps.cli import main as cli
from click.testing import CliRunner


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--actors", "2"], "need --on ray"),
        (["--ray-address", "auto"], "need --on ray"),
        (
            ["--on", "ray", "--cpus-per-actor", "2", "--gpus-per-actor", "1"],
            "CPUs or GPUs; leave one of the two out",
        ),
        (["--on", "ray", "-"], "standard input and output are this process's"),
        (["--on", "dask"], "'dask' is not one of 'local', 'ray'"),
    ],
)
def test_what_does_not_go_together(options, text):
    done = CliRunner().invoke(cli.main, ["cutout", "a.jpg", "-o", "out", *options])

    assert done.exit_code == 2
    assert text in done.stderr


def test_a_folder_without_images_starts_no_engine(tmp_path):
    done = CliRunner().invoke(
        cli.main, ["cutout", str(tmp_path), "-o", str(tmp_path / "out"), "--on", "ray"]
    )

    assert done.exit_code == 1
    assert "no image files" in done.stderr
