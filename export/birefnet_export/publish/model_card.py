"""The model card of an export: what it is, how equal it is, and how it is used."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from birefnet_models.base.names import METADATA_PREFIX
from birefnet_models.base.onnx_file import OnnxFile, ValueInfo, read_onnx
from birefnet_models.base.text import format_bytes, format_size, joined
from birefnet_models.reference import PUBLIC_HUB
from birefnet_models.zoo import lookup

from ..graph.save import model_files
from ..graph.signature import INPUT

CARD_MARK = "<!-- made by birefnet export --push, which replaces it; without this line it stays -->"
_HUB_LICENSES = {
    "MIT": "mit",
    "Apache-2.0": "apache-2.0",
    "CC-BY-4.0": "cc-by-4.0",
    "CC-BY-NC-4.0": "cc-by-nc-4.0",
}
"""What the hub calls the licenses of the zoo; others it knows as `other`."""
_DTYPES = {"fp32": "fp32", "fp16": "fp16", "int8": "q8"}
"""What transformers.js calls the file of each precision."""

_USUAL_INPUT = Template("""\
 The input is RGB in [0, 1], stretched to the size by an antialiased bilinear filter, less the mean
$mean and divided by $std; the output is logits: their sigmoid is the mask. Batch is free, height
and width are any multiples of $multiple.""")
_USE = Template("""\
## Command line

With birefnet-ort, which needs no PyTorch for this:

```sh
birefnet cutout photo.jpg --model $repo --output cutout.png
```

The file is fetched once, checked and pinned. `--model $repo:fp16` takes another precision,
`--model $repo@COMMIT` another version.

## Python

```python
from birefnet_runtime import Segmenter

segmenter = Segmenter("$repo")
alpha = segmenter("photo.jpg")  # float32 (H, W) in [0, 1]
segmenter.compose("photo.jpg").save("cutout.png")
```""")
_JAVASCRIPT = Template("""\
## JavaScript

[transformers.js](https://github.com/huggingface/transformers.js), in Node and browsers (`dtype`:
$dtypes):

```js
import { pipeline } from '@huggingface/transformers';

const segment = await pipeline('background-removal', '$repo', { dtype: '$dtype' });
const result = await segment('photo.jpg');
await (Array.isArray(result) ? result[0] : result).save('cutout.png');
```

onnxruntime-web alone; `pixels` is a canvas's `getImageData(0, 0, $width, $height).data`:

```js
import * as ort from 'onnxruntime-web';

const [height, width] = [$height, $width];
const [mean, std] = [$mean, $std];
const url = '$url';
const session = await ort.InferenceSession.create(url$options);
const tensor = new Float32Array(3 * height * width);
for (let i = 0; i < height * width; i++)
  for (let c = 0; c < 3; c++)
    tensor[c * height * width + i] = (pixels[4 * i + c] / 255 - mean[c]) / std[c];
const feeds = { $input: new ort.Tensor('float32', tensor, [1, 3, height, width]) };
const { $output: logits } = await session.run(feeds);
const alpha = logits.data.map((x) => 1 / (1 + Math.exp(-x)));  // height * width, in [0, 1]
```""")


@dataclass(frozen=True, slots=True)
class CardGraph:
    """A graph of ours, as its card describes it."""

    path: str
    """In the repository."""
    size: int
    """In bytes, weights beside it included."""
    facts: dict[str, str]
    """Its metadata, without the prefix."""
    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]
    external: tuple[str, ...]
    """Names of the files beside it that hold weights."""

    @property
    def precision(self) -> str:
        return self.facts.get("precision", "fp32")

    def stated(self, name: str) -> dict[str, Any]:
        """A fact that is a JSON object; empty where there is none."""
        with suppress(ValueError):
            value = json.loads(self.facts.get(name, "{}"))
            return value if isinstance(value, dict) else {}
        return {}


def card_graphs(directory: Path) -> list[CardGraph]:
    """The graphs of an export directory that `birefnet export` made, the exact one first.

    Raises:
        OnnxFileError: one can't be read.
    """
    graphs = [read_onnx(file) for file in sorted((directory / "onnx").glob("*.onnx"))]
    ours = [graph for graph in graphs if f"{METADATA_PREFIX}format" in graph.properties]
    order = list(_DTYPES)
    described = [_card_graph(graph, directory) for graph in ours]
    return sorted(described, key=lambda g: (order.index(g.precision), g.path))


def model_card(repo: str, graphs: Sequence[CardGraph], others: Sequence[str] = ()) -> str:
    """The text of README.md.

    Args:
        repo: `OWNER/NAME` of the repository that it is for.
        graphs: what is pushed, the exact one first.
        others: paths of further graphs that the repository has already.
    """
    first = graphs[0]
    sections = (
        "\n".join(("---", *_front_matter(first), "---", CARD_MARK)),
        f"# {repo.rpartition('/')[2]}",
        _what_it_is(first),
        "## Files\n\n" + "\n".join(_table(graphs)) + _also(others),
        _parity(first),
        _USE.substitute(repo=repo),
        _javascript(repo, graphs) if _is_usual(first) else "",
        "## License\n\n" + _license(first),
    )
    return "\n\n".join(filter(None, sections)) + "\n"


def _card_graph(graph: OnnxFile, directory: Path) -> CardGraph:
    facts = {
        key.removeprefix(METADATA_PREFIX): value
        for key, value in graph.properties.items()
        if key.startswith(METADATA_PREFIX)
    }
    if facts.get("precision") not in _DTYPES:
        facts["precision"] = "fp32"
    size = sum(file.stat().st_size for file in model_files(graph.path))
    path = graph.path.relative_to(directory).as_posix()
    return CardGraph(path, size, facts, graph.inputs, graph.outputs, graph.external_files)


def _front_matter(graph: CardGraph) -> Iterator[str]:
    if license := graph.facts.get("license"):
        yield f"license: {_HUB_LICENSES.get(license, 'other')}"
    base = graph.facts.get("source", "").partition("@")[0]
    if base and "://" not in base:
        yield f"base_model: {base}"
    yield "library_name: transformers.js"
    yield "pipeline_tag: image-segmentation"
    yield "tags: [birefnet, onnx, onnxruntime, background-removal, image-matting]"


def _what_it_is(graph: CardGraph) -> str:
    facts = graph.facts
    source = facts.get("source") or facts.get("checkpoint", "a checkpoint")
    size = facts.get("trained_size")
    (image, *_), (mask, *_) = graph.inputs, graph.outputs
    trained = f" It was trained at {size} (height x width)." if size else ""
    return (
        "[BiRefNet](https://github.com/ZhengPeng7/BiRefNet) as ONNX: it finds the subject of an "
        f"image. Backbone {facts.get('backbone', 'unknown')}, exported by birefnet-ort "
        f"{facts.get('producer_version', '')} from `{source}` (sha256 "
        f"`{facts.get('checkpoint_sha256', 'unknown')}`).{trained}\n\n"
        f"Input `{image.name}`, {image.dtype} ({_shape(image)}); output `{mask.name}`, "
        f"{mask.dtype} ({_shape(mask)})." + (_usual_input(facts) if _is_usual(graph) else "")
    )


def _usual_input(facts: Mapping[str, str]) -> str:
    multiple = facts.get("size_multiple", "32")
    text = _USUAL_INPUT.substitute(mean=facts["mean"], std=facts["std"], multiple=multiple)
    return text.replace("\n", " ")


def _table(graphs: Sequence[CardGraph]) -> Iterator[str]:
    yield "| file | precision | size | lowering, opset | logits differ | masks differ |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for graph in graphs:
        parity, facts = graph.stated("parity"), graph.facts
        yield (
            f"| `{graph.path}` | {graph.precision} | {format_bytes(graph.size)} "
            f"| {facts.get('lowering')}, {facts.get('opset')} "
            f"| {_number(parity, 'logits_max_abs')} | {_number(parity, 'mask_max_abs')} |"
        )


def _parity(graph: CardGraph) -> str:
    parity = graph.stated("parity")
    cases = joined([format_size(case) for case in parity.get("cases", ())])
    text = (
        "Logits and masks: the largest difference to the checkpoint in float64 on the same "
        "tensors, at "
        f"{cases} (batch x height x width); {parity.get('reference')}, {parity.get('runtime')}."
    )
    return text if cases else ""


def _also(others: Sequence[str]) -> str:
    return f"\n\nAlso here, pushed apart: {joined([f'`{name}`' for name in others])}." * bool(
        others
    )


def _javascript(repo: str, graphs: Sequence[CardGraph]) -> str:
    first = graphs[0]
    height, width = first.facts.get("trained_size", "1024x1024").split("x")
    names = ", ".join(f"'{name}'" for name in first.external)
    return _JAVASCRIPT.substitute(
        repo=repo,
        dtypes=joined([f"`{_DTYPES[graph.precision]}`" for graph in graphs], " or "),
        dtype=_DTYPES[first.precision],
        height=height,
        width=width,
        mean=first.facts["mean"],
        std=first.facts["std"],
        url=f"{PUBLIC_HUB}/{repo}/resolve/main/{first.path}",
        options=f", {{ externalData: [{names}] }}" if names else "",
        input=first.inputs[0].name,
        output=first.outputs[0].name,
    )


def _license(graph: CardGraph) -> str:
    source, license = graph.facts.get("source"), graph.facts.get("license")
    of = f"the checkpoint, `{source or graph.facts.get('checkpoint', '')}`"
    terms = (card.terms if (card := lookup(graph.facts.get("model", ""))) else "") or ""
    if license:
        return f"{license}, as {of}{': ' if terms else ''}{terms}. BiRefNet's code is MIT."
    return f"That of {of}, which the export could not tell. BiRefNet's code is MIT."


def _is_usual(graph: CardGraph) -> bool:
    """Whether the graph has the usual signature: one normalized float32 image in."""
    inputs = [(value.name, value.dtype) for value in graph.inputs]
    return inputs == [(INPUT.name, "float32")] and {"mean", "std"} <= graph.facts.keys()


def _shape(value: ValueInfo) -> str:
    return ", ".join(map(str, value.shape or ()))


def _number(parity: dict[str, Any], name: str) -> str:
    value = parity.get(name)
    return f"{value:.1e}" if isinstance(value, (int, float)) else ""
