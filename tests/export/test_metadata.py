"""The files that transformers.js reads beside an export."""

from birefnet_export.metadata import hub_config


def test_upstreams_preprocessing_at_the_trained_size():
    files = hub_config((1440, 2560), external_data=False)

    assert files["config.json"] == {"architectures": ["BiRefNet"], "model_type": "birefnet"}
    assert files["preprocessor_config.json"] == {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": 1440, "width": 2560},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    }


def test_without_a_trained_size_it_is_1024_and_weights_beside_the_graph_are_said():
    files = hub_config(None, external_data=True)

    assert files["preprocessor_config.json"]["size"] == {"height": 1024, "width": 1024}
    assert files["config.json"]["transformers.js_config"] == {"use_external_data_format": True}
