// The network, away from the page's thread: fetches the file, opens it once, runs picture after picture.
// In:  {open: {model, device}}, {run: ImageBitmap}
// Out: {progress: {loaded, total}}, {ready: {device, threads, note, ...}}, {result: {picture, seconds, ...}}, {error: text}

// The wasm memory only grows, so that its size in the end is its peak.
const memories = [];
WebAssembly.Memory = class extends WebAssembly.Memory {
  constructor(descriptor) { super(descriptor); memories.push(this); }
};
const memoryBytes = () => memories.reduce((sum, { buffer }) => sum + buffer.byteLength, 0);

const CACHE = "birefnet-models";
// No copies of the weights in another layout, and what is freed is free for all.
const SMALL = { enableCpuMemArena: false, extra: { session: { disable_prepacking: "1" } } };
let ort, session, opened;

/** The model's bytes: from the browser's cache while the server has the same file, else fetched. */
async function fetchModel(address) {
  const cache = await self.caches?.open(CACHE).catch(() => null);
  const kept = await cache?.match(address);
  if (kept) {
    const now = await fetch(address, { method: "HEAD" }).catch(() => null);
    const same = !now || ["ETag", "Content-Length"].every((name) => now.headers.get(name) === kept.headers.get(name));
    if (same) return { bytes: new Uint8Array(await kept.arrayBuffer()), cached: true };
  }
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address}: the server answered ${response.status}`);
  const bytes = await readAll(response);
  const headers = { ETag: response.headers.get("ETag") ?? "", "Content-Length": bytes.length };
  await cache?.put(address, new Response(bytes, { headers })).catch(() => null);  // no room: fetched again next time
  return { bytes, cached: false };
}

async function readAll(response) {
  const total = Number(response.headers.get("Content-Length")) || 0, reader = response.body.getReader();
  let bytes = new Uint8Array(total || 1 << 24), loaded = 0;
  for (let part; !(part = await reader.read()).done; loaded += part.value.length) {
    if (loaded + part.value.length > bytes.length) {
      const larger = new Uint8Array(2 * (loaded + part.value.length));
      larger.set(bytes.subarray(0, loaded));
      bytes = larger;
    }
    bytes.set(part.value, loaded);
    postMessage({ progress: { loaded: loaded + part.value.length, total } });
  }
  return bytes.subarray(0, loaded);
}

/** Opens the model on the GPU where that is asked for and works, else on the CPU, and says which. */
async function open({ model, device }) {
  const { bytes, cached } = await fetchModel(model);
  let note = "";
  if (device !== "cpu") {
    try {
      const adapter = await navigator.gpu?.requestAdapter();
      if (!adapter) throw new Error("this browser offers none here");
      if (adapter.info?.isFallbackAdapter) throw new Error("this browser has only a software one");
      await openWith("webgpu", bytes);
      return { model, device: "webgpu", threads: ort.env.wasm.numThreads, cached, note };
    } catch (error) {
      note = `No WebGPU: ${firstLine(error)}.`;
    }
  }
  await openWith("wasm", bytes);
  return { model, device: "cpu", threads: ort.env.wasm.numThreads, cached, note };
}

async function openWith(provider, bytes) {
  ort = await import(provider === "webgpu" ? "./ort/ort.webgpu.min.mjs" : "./ort/ort.wasm.min.mjs");
  ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
  // Threads share memory, which a browser allows only to pages that are isolated from others.
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 8) : 1;
  ort.env.logLevel = "error";
  session = await ort.InferenceSession.create(bytes, { executionProviders: [provider], ...SMALL });
  // A provider that computes wrong says nothing by itself: it is asked once, before a picture is.
  const { checkKnownAnswer } = await import("./known_answer.mjs");
  await checkKnownAnswer(bytes, async (pixels, height, width) =>
    (await session.run({ image: new ort.Tensor("uint8", pixels, [1, height, width, 3]) })).alpha.data);
}

/** The picture with what the network found as its alpha, and how long it took. */
async function run(bitmap) {
  const picture = pixelsOf(bitmap), { width, height, data } = picture;
  const pixels = new Uint8Array(3 * width * height);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    pixels[to++] = data[from]; pixels[to++] = data[from + 1]; pixels[to++] = data[from + 2];
  }
  const image = () => new ort.Tensor("uint8", pixels, [1, height, width, 3]);
  let started = performance.now(), results;
  try {
    results = await session.run({ image: image() });
  } catch (error) {
    if (opened.device !== "webgpu") throw error;
    opened = { ...await open({ model: opened.model, device: "cpu" }), note: `WebGPU failed: ${firstLine(error)}.` };
    started = performance.now();
    results = await session.run({ image: image() });
  }
  const seconds = (performance.now() - started) / 1000;
  for (let pixel = 0; pixel < width * height; pixel++) data[4 * pixel + 3] = results.alpha.data[pixel];
  return { ...opened, picture, seconds, memoryBytes: memoryBytes() };
}

/** RGBA. What is transparent already lies before white, as in Python. */
function pixelsOf(bitmap) {
  const { width, height } = bitmap, context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

const firstLine = (error) => String(error?.message ?? error).split("\n")[0];

self.addEventListener("message", async ({ data }) => {
  try {
    if (data.open) postMessage({ ready: opened = await open(data.open) });
    if (data.run) {
      const result = await run(data.run);
      postMessage({ result }, [result.picture.data.buffer]);
    }
  } catch (error) {
    postMessage({ error: firstLine(error) });
  }
});
