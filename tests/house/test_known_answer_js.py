"""The known answer in JavaScript, which the page and Node share, against Python's."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from birefnet_models import embedded_path, find
from birefnet_runtime.model.known_answer import KEY, PICTURES, draw
from birefnet_runtime.model.locate import ModelFile

NANO = embedded_path(find("nano"))
MODULE = Path(__file__).parents[2] / "examples" / "web" / "known_answer.mjs"
PROGRAM = """
import { readFileSync } from "node:fs";
import { readKnownAnswer, draw, checkKnownAnswer } from "%s";
const bytes = readFileSync("%s"), known = readKnownAnswer(bytes);
const text = Buffer.from(known.alpha, "base64");
let right = true, wrong = false;
const answer = (shift) => async (pixels, height, width) => {
  const alpha = new Float64Array(height * width);
  for (let y = 0, n = 0; y < height; y += known.step)
    for (let x = 0; x < width; x += known.step, n++)
      alpha[y * width + x] = 255 * Math.abs(text.readUInt16LE(2 * n) / 65535 - shift);
  return alpha;
};
try { await checkKnownAnswer(bytes, answer(0)); } catch { right = false; }
try { await checkKnownAnswer(bytes, answer(0.1)); } catch { wrong = true; }
const pictures = known.pictures.map((size) => [...draw(...size)]);
const none = readKnownAnswer(bytes.subarray(0, 9999));
console.log(JSON.stringify({ known, pictures, right, wrong, none }));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_pictures_and_answers_are_pythons():
    program = PROGRAM % (MODULE.as_uri(), NANO.as_posix())
    done = subprocess.run(
        ["node", "--input-type=module", "-e", program], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)

    assert found["known"] == json.loads(ModelFile(NANO).graph.properties[KEY])
    for shape, pixels in zip(PICTURES, found["pictures"], strict=True):
        np.testing.assert_array_equal(np.reshape(pixels, (*shape, 3)), draw(*shape))
    assert (found["right"], found["wrong"], found["none"]) == (True, True, None)
