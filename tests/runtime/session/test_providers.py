import pickle

import pytest
from birefnet_runtime import Cpu, Cuda, Named, OpenVINO, ProviderError, TensorRT
from birefnet_runtime.session.providers import parse_providers, split_providers


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("cpu", (Cpu(),)),
        ("cuda,cpu", (Cuda(), Cpu())),
        (" TensorRT , cuda", (TensorRT(), Cuda())),
        ("auto", (Cuda(), Cpu())),
        ("cuda:1:tf32,cpu", (Cuda(device_id=1, tf32=True), Cpu())),
        ("tensorrt:fp16", (TensorRT(fp16=True),)),
        ("tensorrt:1", (TensorRT(device_id=1),)),
        ("tensorrt:2:fp16", (TensorRT(device_id=2, fp16=True),)),
        ("openvino:bf16", (OpenVINO(precision="bf16"),)),
        (OpenVINO(precision="bf16"), (OpenVINO(precision="bf16"),)),
        (["cuda", Cpu(spin=False)], (Cuda(), Cpu(spin=False))),
        ((TensorRT(fp16=True), Cuda(), "cpu"), (TensorRT(fp16=True), Cuda(), Cpu())),
        ("coreml, cpu", (Named("coreml"), Cpu())),
        ("DmlExecutionProvider", (Named("directml"),)),
        ("CUDAExecutionProvider", (Cuda(),)),
        (
            "CoreML:ModelFormat=MLProgram, MLComputeUnits=ALL,cpu",
            (Named("coreml", {"ModelFormat": "MLProgram", "MLComputeUnits": "ALL"}), Cpu()),
        ),
        ("qnn:Fixed", (Named("qnn", fixed=True),)),
        (
            r"qnn:fixed:backend_path=C:\q.dll,a=",
            (Named("qnn", {"backend_path": r"C:\q.dll", "a": ""}, fixed=True),),
        ),
        ("webgpu:fixed,deviceId=1", (Named("webgpu", {"deviceId": "1"}, fixed=True),)),
        (Named("WebGPU", {"deviceId": 1}), (Named("webgpu", {"deviceId": "1"}),)),
    ],
)
def test_what_can_be_asked_for(asked, found):
    assert parse_providers(asked) == found


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("gpu", r"'gpu'; did you mean cuda\? there are: auto, cpu, cuda, tensorrt, openvino"),
        ("", "no provider is called ''"),
        ("cuda,,cpu", "no provider is called ''"),
        ([], "no provider asked for"),
        ("cpu,cpu", "asked twice for cpu"),
        ("auto,cpu", "asked twice for cpu"),
        ("cuda:fp16", "cuda:fp16: behind cuda there may be a device's number, tf32"),
        ("openvino:1", "openvino:1: behind openvino there may be f32, bf16, f16"),
        ("cpu:fp16", "cpu:fp16: behind cpu there may be bf16"),
        ([Cuda(), Cuda(device_id=1)], "asked twice for cuda"),
        (
            "coremll",
            r"'coremll'; did you mean coreml\? there are: auto, cpu, .*; with other wheels",
        ),
        (Named("coremll"), "no provider is called 'coremll'"),
        (Named("cuda"), "cuda has a record of its own: Cuda"),
        ("coreml:x", "coreml:x: behind coreml there may be fixed, and options as KEY=VALUE"),
        ("coreml:=1", "behind coreml there may be fixed"),
        ("coreml:a=1,a=2", "coreml: a is given twice"),
        ("cuda,deviceId=1", "cuda:deviceid=1: behind cuda there may be a device's number, tf32"),
    ],
)
def test_what_cannot_be(asked, says):
    with pytest.raises(ProviderError, match=says):
        parse_providers(asked)


@pytest.mark.parametrize("asked", ["cpu", "cuda,cpu", "auto"])
def test_settings_of_the_cpu_hold_wherever_its_name_stands(asked):
    """Under `auto`, the default, as well: `Segmenter(memory="low")` is `auto` with settings."""
    settings = Cpu(prepack=False, arena="one-region")

    assert parse_providers(asked, settings)[-1] == settings


def test_only_the_word_auto_leaves_the_choice_to_us():
    assert parse_providers("auto").auto
    assert parse_providers(" Auto ").auto
    assert not parse_providers("cuda,cpu").auto
    assert not parse_providers(Cpu()).auto


@pytest.mark.parametrize("asked", ["cpu", "cuda,cpu", "auto", "cpu:bf16", "coreml", "qnn:fixed"])
def test_what_was_parsed_can_be_given_again_with_settings(asked):
    settings = Cpu(prepack=False, arena="one-region")
    parsed = pickle.loads(pickle.dumps(parse_providers(asked)))

    assert parse_providers(parsed, settings) == parse_providers(asked, settings)
    assert parse_providers(parsed, settings).auto == (asked == "auto")
    assert parse_providers(Cpu(), settings) == (Cpu(),), "a record is what it says"


def test_a_word_behind_the_cpu_leaves_its_settings():
    (record,) = parse_providers("cpu:bf16", Cpu(prepack=False))

    assert record == Cpu(prepack=False, bf16=True)


def test_options_stay_with_their_provider_where_a_list_is_split():
    text = "cpu,coreml:fixed:A=x:y=z,B=2,tensorrt:fp16"

    assert split_providers(text) == ["cpu", "coreml:fixed:A=x:y=z,B=2", "tensorrt:fp16"]
