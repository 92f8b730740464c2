import pytest
from birefnet_export.export import export_onnx
from birefnet_export.options import ExportReport

from ..conftest import saved


@pytest.fixture(scope="session")
def report(tmp_path_factory, tiny) -> ExportReport:
    """A verified export with its weights beside the graph; its checkpoint lies in the folder above,
    and a file that has nothing to do with it in its own."""
    folder = tmp_path_factory.mktemp("published")
    saved(tiny, folder / "model.safetensors")
    made = export_onnx(folder, folder / "out", trained_size=(96, 160), external_data=True)
    (made.directory / "notes.txt").write_text("mine")
    return made


@pytest.fixture(scope="session")
def directory(report):
    return report.directory
