import pytest
from birefnet_apps.cli import main as cli
from birefnet_runtime import Named, TensorRT
from birefnet_runtime.session.ort_session import SessionInfo
from birefnet_runtime.session.providers import Profile
from click.testing import CliRunner

PROFILE = Profile(smallest=(1, 64, 64), best=(1, 64, 64), largest=(2, 128, 64))


def run(*arguments: object):
    return CliRunner().invoke(cli.main, ["warm", *map(str, arguments)])


def test_it_builds_for_what_will_be_asked(model, monkeypatch):
    asked = []

    def opened(path, **how):
        asked.append((path, how))
        record = TensorRT(fp16=True, profile=PROFILE)
        return type("Session", (), {"info": SessionInfo(record, (), None)})

    monkeypatch.setattr("birefnet_apps.cli.deploy.open_session", opened)

    result = run(
        model, "--size", 64, "--size", "128x64", "--batch", 2, "--provider", "tensorrt:fp16"
    )

    assert result.exit_code == 0, result.output
    ((path, how),) = asked
    assert path.path == model
    assert how == {
        "providers": TensorRT(fp16=True),
        "sizes": (64, (128, 64)),
        "batch": 2,
        "verbose": False,
    }
    assert "is ready for batches of 1 to 2 at 64x64 to 128x64 (" in result.stdout


def test_without_tensorrt_it_says_why(model):
    result = run(model)

    assert result.exit_code == 1
    assert result.stderr.startswith("birefnet: tensorrt can't run here")
    assert result.stderr.count("\n") == 1


def test_another_provider_is_compared_ahead(model, monkeypatch):
    asked = []

    def opened(path, **how):
        asked.append(how["providers"])
        return type("Session", (), {"info": SessionInfo(how["providers"], (), None)})

    monkeypatch.setattr("birefnet_apps.cli.deploy.open_session", opened)

    result = run(model, "--provider", "coreml:fixed:ModelFormat=MLProgram,cpu")
    assert result.exit_code == 1, "nothing to fall back to is warmed"
    result = run(model, "--provider", "coreml:fixed:ModelFormat=MLProgram")

    assert result.exit_code == 0, result.output
    assert asked == [Named("coreml", {"ModelFormat": "MLProgram"}, fixed=True)]
    assert "answers on coreml as on the CPU (" in result.stdout


@pytest.mark.parametrize("provider", ["cuda", "tensorrt,cpu", "openvino"])
def test_nothing_else_builds_ahead(model, provider):
    result = run(model, "--provider", provider)

    assert result.exit_code == 1
    assert "only one provider" in result.stderr
    assert f" of {provider} " in result.stderr


def test_a_wrong_size_is_a_usage_error(model):
    assert run(model, "--size", "big").exit_code == 2
