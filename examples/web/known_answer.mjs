// The known answer that a file from pixels to alpha carries (docs/reference/known-answer.md), for a page or Node.

/** The entry of the file's metadata, from the bytes of an .onnx; null if it has none. */
export function readKnownAnswer(bytes) {
  const key = new TextEncoder().encode("birefnet.known_answer");
  const first = Math.max(0, bytes.length - 100_000);  // it was written last
  for (let at = bytes.length - key.length; at >= first; at--) {
    if (!key.every((byte, index) => bytes[at + index] === byte)) continue;
    let place = at + key.length, length = 0, shift = 0, byte;
    if (bytes[place++] !== 0x12) continue;  // field 2 of a StringStringEntryProto, whose length follows
    do { byte = bytes[place++]; length += (byte & 127) * 2 ** shift; shift += 7; } while (byte & 128);
    return JSON.parse(new TextDecoder().decode(bytes.subarray(place, place + length)));
  }
  return null;
}

/** The picture of a height and width: uint8 RGB, row by row. */
export function draw(height, width) {
  const pixels = new Uint8Array(3 * height * width);
  for (let y = 0, to = 0; y < height; y++) for (let x = 0; x < width; x++) {
    const down = (2 * y - height + 1) * width, right = (2 * x - width + 1) * height;
    const inside = 2 * (down * down + right * right) < (height * width) ** 2;
    for (let c = 0; c < 3; c++)
      pixels[to++] = (inside ? 190 - 30 * c : 40 + 15 * c) + (7 * x + 13 * y + 29 * c + x * y * (c + 1)) % 41;
  }
  return pixels;
}

/** Asks for the first picture; run takes uint8 pixels, height and width, and gives uint8 alpha. Throws if it is wrong. */
export async function checkKnownAnswer(bytes, run) {
  const known = readKnownAnswer(bytes);
  if (!known) return null;
  const [height, width] = known.pictures[0], alpha = await run(draw(height, width), height, width);
  const text = atob(known.alpha), value = (at) => text.charCodeAt(at) + 256 * text.charCodeAt(at + 1);
  let largest = 0, sum = 0, count = 0;
  for (let y = 0; y < height; y += known.step) for (let x = 0; x < width; x += known.step, count++) {
    const off = Math.abs(alpha[y * width + x] / 255 - value(2 * count) / 65535);
    largest = Math.max(largest, off); sum += off;
  }
  const [most, mean] = known.tolerance.alpha;
  if (!(largest <= most && sum / count <= mean))
    throw new Error(`its known answer is off by ${largest.toPrecision(2)}, ${most} is allowed`);
  return { largest, mean: sum / count };
}
