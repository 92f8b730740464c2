from birefnet_export.text import by_x, first_line


def test_sizes_and_shapes_are_written_height_first():
    assert by_x((1024, 768)) == "1024x768"
    assert by_x((2, 3, 224, 160)) == "2x3x224x160"


def test_an_error_is_its_first_line_or_its_kind():
    assert first_line(ValueError("\n  no such layer\nat line 3")) == "no such layer"
    assert first_line(MemoryError()) == "MemoryError"
