"""Graphs made by hand, which name the files of their weights."""


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def graph(*weights_in: str, padding: int = 0) -> bytes:
    """An ONNX file whose tensors lie in these files beside it."""
    tensors = b""
    for place in weights_in:
        entry = field(1, b"location") + field(2, place.encode())
        tensors += field(5, field(8, b"w") + field(13, entry) + field(14, 1))
    name = field(2, bytes(padding))
    return field(1, 9) + field(7, tensors + name)
