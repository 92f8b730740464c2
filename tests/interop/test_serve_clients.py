"""Clients of remove.bg's API against `birefnet serve`, as their packages are published."""

import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from birefnet_runtime import Segmenter, Style
from PIL import Image

pytestmark = pytest.mark.interop

ROOT = Path(__file__).parents[2]
INTEROP = ROOT / ".interop"
PHOTO = ROOT / "examples" / "photos" / "flower.jpg"

AXIOS = """
const [axios, Form, fs] = [require('axios'), require('form-data'), require('fs')];
const form = new Form();
form.append('size', 'auto');
form.append('image_file', fs.createReadStream(process.argv[3]), 'photo.jpg');
axios({ method: 'post', url: `${process.argv[2]}/removebg`, data: form, responseType: 'arraybuffer',
        headers: { ...form.getHeaders(), 'X-Api-Key': 'key' } })
  .then(({ data }) => fs.writeFileSync(process.argv[4], data));
"""
REMOVE_BG = """
const fs = require('fs'), path = require.resolve('remove.bg');
const source = fs.readFileSync(path, 'utf8');
const own = new (require('module'))(path);
own.paths = module.paths;
own._compile(source.replace('https://api.remove.bg/v1.0', process.argv[2]), path);
const client = own.exports, [, , , photo, file] = process.argv;
const base64img = fs.readFileSync(photo).toString('base64');
const shared = { apiKey: 'key', size: 'full', outputFile: file };
const call = process.argv[5] === 'file'
  ? client.removeBackgroundFromImageFile({ path: photo, type: 'product', ...shared })
  : client.removeBackgroundFromImageBase64({ base64img, type: 'product', ...shared });
call.catch((errors) => { console.error(errors); process.exit(1); });
"""
REMOVEBG = """
import sys
from removebg import removebg
removebg.API_ENDPOINT = sys.argv[1] + '/removebg'
removebg.RemoveBg('key', 'errors.log').remove_background_from_img_file(sys.argv[2], size='4k')
import os
os.replace(sys.argv[2] + '_no_bg.png', sys.argv[3])
"""
REMOVE_BG_API = """
import sys, remove_bg_api
remove_bg_api.API_URL = sys.argv[1]
client = remove_bg_api.RemoveBg('key')
content = client.remove_bg_bytes(open(sys.argv[2], 'rb').read(), raw=True, size='full')
open(sys.argv[3], 'wb').write(content)
"""
REMOVEBG_CLI = """
import sys, removebg_cli
removebg_cli.API_URL = sys.argv[1] + '/removebg'
removebg_cli.check_remaining_credits = lambda key: None
removebg_cli.remove_bg('key', sys.argv[2], sys.argv[3], size='full')
"""
CLIENTS = {
    "axios": ("node", AXIOS, ()),
    "remove.bg, a file": ("node", REMOVE_BG, ("file",)),
    "remove.bg, base64": ("node", REMOVE_BG, ("base64",)),
    "removebg": ("python", REMOVEBG, ()),
    "remove-bg-api": ("python", REMOVE_BG_API, ()),
    "removebg-cli": ("python", REMOVEBG_CLI, ()),
}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """`http://127.0.0.1:…/v1.0` of a server with the demonstration model."""
    command = "from birefnet_apps.cli.main import main; main()"
    options = ["serve", "--model", "nano", "--port", "0", "--threads", "1", "--drain-delay", "0"]
    with subprocess.Popen(
        [sys.executable, "-c", command, *options], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        try:
            while not (found := re.search(r"on (http://\S+:\d+)$", process.stderr.readline())):
                assert process.poll() is None
            yield f"{found[1]}/v1.0"
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    return Segmenter("nano", threads=1).compose(PHOTO, Style()).pixels


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_gets_the_picture_that_the_library_makes(address, expected, tmp_path, name):
    program, script, more = CLIENTS[name]
    photo, result = shutil.copy(PHOTO, tmp_path / "photo.jpg"), tmp_path / "result.png"
    runner = str(INTEROP / "venv" / "bin" / "python") if program == "python" else "node"
    flag = "-c" if program == "python" else "-e"
    # Node's -e leaves its own place in the arguments out, which a file's name has.
    place = () if program == "python" else ("script",)
    done = subprocess.run(
        [runner, flag, script, *place, address, str(photo), str(result), *more],
        cwd=tmp_path,
        env={**os.environ, "NODE_PATH": str(INTEROP / "node_modules")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    image = Image.open(io.BytesIO(result.read_bytes()))
    assert image.format == "PNG"
    assert np.array_equal(np.asarray(image), expected)
