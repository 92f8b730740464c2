from birefnet_export.text import by_x


def test_sizes_and_shapes_are_written_height_first():
    assert by_x((1024, 768)) == "1024x768"
    assert by_x((2, 3, 224, 160)) == "2x3x224x160"
