// Times the npm package @vladmandic/human on photos, in Node with WebAssembly; see README.md.
//
// node run_human.mjs MODULES PHOTO... --repeats N prints JSON; without repeats, only what it finds.
// MODULES is the folder whose node_modules it takes.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const { values, positionals } = parseArgs({ options: { repeats: { type: "string", default: "0" } }, allowPositionals: true });
const [folder, ...photos] = positionals;
const repeats = Number(values.repeats);
const modules = path.resolve(folder, "node_modules");
const require = createRequire(path.join(modules, "any.js"));

// Node fetches no files.
globalThis.fetch = async (url) => new Response(await readFile(fileURLToPath(String(url))));

const sharp = require("sharp");
const { Human } = require(path.join(modules, "@vladmandic/human/dist/human.node-wasm.js"));
const off = { enabled: false };
const human = new Human({
  backend: "wasm",
  wasmPath: path.join(modules, "@tensorflow/tfjs-backend-wasm/dist/"),
  modelBasePath: `${pathToFileURL(path.join(modules, "@vladmandic/human/models"))}/`,
  cacheSensitivity: 0, // every photo is looked at, also one that was seen before
  debug: false,
  filter: off,
  face: { detector: { maxDetected: 20 }, iris: off, emotion: off, description: { enabled: true } },
  body: off,
  hand: off,
  object: off,
  gesture: off,
  segmentation: off,
});

async function predict(photo) {
  const { data, info } = await sharp(photo).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  const tensor = human.tf.tensor(data, [1, info.height, info.width, 3], "float32");
  const { face, error } = await human.detect(tensor);
  tensor.dispose();
  if (error) throw new Error(error);
  return face;
}

await human.load();
await human.tf.ready();
const found = [];
for (const photo of photos) found.push(await predict(photo));
if (repeats) {
  const ms = photos.map(() => []);
  for (let turn = 0; turn < repeats; turn += 1) {
    for (const [index, photo] of photos.entries()) {
      const began = performance.now();
      await predict(photo);
      ms[index].push(performance.now() - began);
    }
  }
  console.log(JSON.stringify({ version: human.version, faces: found.map((people) => people.length), ms }));
} else {
  console.log(found.map((people) => people.map(({ box, age, gender }) => ({ box, age, gender }))));
}
