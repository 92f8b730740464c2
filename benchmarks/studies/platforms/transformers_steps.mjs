// transformers.js's masks with one step after the other replaced by Pillow's: for studies/platforms/web.py, in Node and browsers.
// In Node: node transformers_steps.mjs TRANSFORMERS RESIZE PARENT_OF_MODEL MODEL PHOTO; prints JSON.

/** Masks by name, and what the network was given and gave, all as base64. */
export async function steps({ AutoModel, AutoProcessor, RawImage }, { BICUBIC, BILINEAR, resize }, name, photo, options) {
  const model = await AutoModel.from_pretrained(name, options), processor = await AutoProcessor.from_pretrained(name);
  const picture = (await RawImage.read(photo)).rgb(), { width, height } = picture;
  const network = processor.image_processor.size, size = [network.height, network.width];
  const within01 = (x) => Math.min(Math.max(x, 0), 1);

  const small = Uint8Array.from(resize(picture.data, [height, width], size, 3, BILINEAR, Math.round));
  const inputs = { theirs: picture.clone(), ours: new RawImage(small, network.width, network.height, 3) };
  const result = { width, height, network: size, masks: {} };
  for (const [way, image] of Object.entries(inputs)) {
    const { pixel_values } = await processor(image);
    const { output_image } = await model({ input_image: pixel_values });
    result[way] = { input: base64(pixel_values.data), logits: base64(output_image.data) };
    const mask = output_image.sigmoid();
    // What their pipeline does, line by line.
    const back = await RawImage.fromTensor(mask[0].clone().mul_(255).to('uint8')).resize(width, height);
    result.masks[`in ${way}, back theirs`] = base64(Uint8Array.from(back.data));
    const large = resize(mask.data, size, [height, width], 1, BICUBIC, within01);
    result.masks[`in ${way}, back ours`] = base64(Uint8Array.from(large, (x) => Math.round(255 * x)));
  }
  return result;
}

function base64({ buffer, byteOffset, byteLength }) {
  const bytes = new Uint8Array(buffer, byteOffset, byteLength);
  let text = '';
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  return btoa(text);
}

if (globalThis.process?.argv[1]?.endsWith('transformers_steps.mjs')) {
  const [transformers, resizing, parent, name, photo] = process.argv.slice(2);
  const library = await import(transformers);
  library.env.allowRemoteModels = false;
  library.env.localModelPath = parent;
  console.log(JSON.stringify(await steps(library, await import(resizing), name, photo, { dtype: 'fp32', device: 'cpu' })));
}
