// The network, away from the page's thread: fetches the file, opens it once, runs picture after picture.
// In:  {open: {model, device}}, {run: ImageBitmap}
// Out: {progress: {loaded, total}}, {ready: {device, threads, note}}, {result: {...}}, {error: text}

// The wasm memory only grows, so that its size in the end is its peak.
const memories = [];
WebAssembly.Memory = class extends WebAssembly.Memory {
  constructor(descriptor) { super(descriptor); memories.push(this); }
};
const memoryBytes = () => memories.reduce((sum, { buffer }) => sum + buffer.byteLength, 0);

const CACHE = "birefnet-models";
// No copies of the weights in another layout, and what is freed is free for all: a third less memory.
const SMALL = { enableCpuMemArena: false, extra: { session: { disable_prepacking: "1" } } };
let ort, session;

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
      if (!await navigator.gpu?.requestAdapter()) throw new Error("this browser offers none here");
      await openWith("webgpu", bytes);
      return { device: "webgpu", threads: ort.env.wasm.numThreads, cached, note };
    } catch (error) {
      note = `No WebGPU: ${firstLine(error)}.`;
    }
  }
  await openWith("wasm", bytes);
  return { device: "cpu", threads: ort.env.wasm.numThreads, cached, note };
}

async function openWith(provider, bytes) {
  ort = await import(provider === "webgpu" ? "./ort/ort.webgpu.min.mjs" : "./ort/ort.wasm.min.mjs");
  ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
  // Threads share memory, which a browser allows only to pages that are isolated from others.
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 8) : 1;
  ort.env.logLevel = "error";
  session = await ort.InferenceSession.create(bytes, { executionProviders: [provider], ...SMALL });
}

/** RGBA with what the network found, and how long it took. */
async function run(bitmap) {
  const { width, height } = bitmap, canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";  // what is transparent already is cut out before white, as in Python
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const picture = context.getImageData(0, 0, width, height), { data } = picture;
  const pixels = new Uint8Array(3 * width * height);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    pixels[to++] = data[from]; pixels[to++] = data[from + 1]; pixels[to++] = data[from + 2];
  }
  const started = performance.now();
  const { alpha } = await session.run({ image: new ort.Tensor("uint8", pixels, [1, height, width, 3]) });
  const seconds = (performance.now() - started) / 1000;
  for (let pixel = 0; pixel < alpha.data.length; pixel++) data[4 * pixel + 3] = alpha.data[pixel];
  alpha.dispose();
  return { picture, seconds, memoryBytes: memoryBytes() };
}

const firstLine = (error) => String(error?.message ?? error).split("\n")[0];

self.addEventListener("message", async ({ data }) => {
  try {
    if (data.open) postMessage({ ready: await open(data.open) });
    if (data.run) {
      const result = await run(data.run);
      postMessage({ result }, [result.picture.data.buffer]);
    }
  } catch (error) {
    postMessage({ error: firstLine(error) });
  }
});
