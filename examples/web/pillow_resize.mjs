// Pillow's filters, with which BiRefNet is trained and its masks come back to the picture's size. Where they
// shrink they are as wide as what becomes one pixel (antialiasing), and pixels lie center on center.

export const BILINEAR = { reach: 1, weight: (x) => 1 - x };

/** Keys's cubic with a = -1/2. */
export const BICUBIC = {
  reach: 2,
  weight: (x) => (x < 1 ? (1.5 * x - 2.5) * x * x + 1 : ((2.5 - 0.5 * x) * x - 4) * x + 2),
};

/**
 * Resize an interleaved image.
 *
 * @param data        numbers, [height, width, channels]
 * @param size        [height, width]
 * @param newSize     [height, width] of the result
 * @param channels    how many
 * @param filter      BILINEAR or BICUBIC
 * @param finish      what is done to each value after each direction: Pillow rounds 8-bit images and
 *                    cuts off what the filter overshoots
 * @returns           Float32Array, [height, width, channels]
 */
export function resize(data, [height, width], [newHeight, newWidth], channels, filter, finish) {
  const wide = resizeLines(data, height, width, newWidth, channels, filter, finish);
  return resizeLines(wide, newWidth, height, newHeight, channels, filter, finish);
}

/** [lines, from, channels] to [to, lines, channels]: resized along the lines, and transposed. */
function resizeLines(data, lines, from, to, channels, { reach, weight }, finish) {
  const scale = Math.max(from / to, 1), result = new Float32Array(to * lines * channels);
  for (let x = 0; x < to; x++) {
    const center = (x + 0.5) * from / to;
    const first = Math.max(0, Math.floor(center - reach * scale + 0.5));
    const last = Math.min(from, Math.floor(center + reach * scale + 0.5));
    const weights = Array.from({ length: last - first }, (_, i) => weight(Math.abs(first + i + 0.5 - center) / scale));
    const sum = weights.reduce((a, b) => a + b);
    for (let y = 0; y < lines; y++) {
      for (let c = 0; c < channels; c++) {
        let value = 0;
        for (let i = 0; i < weights.length; i++) value += weights[i] * data[(y * from + first + i) * channels + c];
        result[(x * lines + y) * channels + c] = finish(value / sum);
      }
    }
  }
  return result;
}
