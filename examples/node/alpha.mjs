// The alpha of a photograph in Node, by a file from pixels to alpha: `birefnet export ... --end-to-end`.
//
// npm install onnxruntime-node sharp
// node alpha.mjs model_end_to_end.onnx photo.jpg alpha.png
import ort from "onnxruntime-node";
import sharp from "sharp";

const [model, photo, target] = process.argv.slice(2);
const session = await ort.InferenceSession.create(model);

// What is no matter of the network: orientation, color space, transparency over white.
const { data, info } = await sharp(photo)
  .rotate()
  .flatten({ background: "white" })
  .toColourspace("srgb")
  .removeAlpha()
  .raw()
  .toBuffer({ resolveWithObject: true });

const image = new ort.Tensor("uint8", data, [1, info.height, info.width, 3]);
const { alpha } = await session.run({ image });

await sharp(alpha.data, { raw: { width: info.width, height: info.height, channels: 1 } })
  .toColourspace("b-w")
  .png()
  .toFile(target);
