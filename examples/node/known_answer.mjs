// Whether this machine computes right: the known answer of a file from pixels to alpha.
//
// npm install onnxruntime-node
// node known_answer.mjs model_end_to_end.onnx [provider]      exit code 1: wrong, 2: the file carries none
import { readFile } from "node:fs/promises";
import ort from "onnxruntime-node";
import { checkKnownAnswer } from "../web/known_answer.mjs";

const [model, provider = "cpu"] = process.argv.slice(2);
const session = await ort.InferenceSession.create(model, { executionProviders: [provider] });

const off = await checkKnownAnswer(await readFile(model), async (pixels, height, width) => {
  const image = new ort.Tensor("uint8", pixels, [1, height, width, 3]);
  return (await session.run({ image })).alpha.data;
});
console.log(off ? `right: off by ${off.largest.toPrecision(2)} at most` : "the file carries no known answer");
if (!off) process.exitCode = 2;
