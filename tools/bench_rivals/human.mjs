// The npm package @vladmandic/human, loaded in Node with WebAssembly, for faces alone.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/**
 * Loads it and sharp out of a folder's node_modules; description is the options of its network for age and gender.
 */
export async function loadHuman(folder, description = {}) {
  const modules = path.resolve(folder, "node_modules");
  const require = createRequire(path.join(modules, "any.js"));

  // Node fetches no files.
  globalThis.fetch = async (url) => new Response(await readFile(fileURLToPath(String(url))));

  const { Human } = require(path.join(modules, "@vladmandic/human/dist/human.node-wasm.js"));
  const models = path.join(modules, "@vladmandic/human/models");
  const off = { enabled: false };
  const human = new Human({
    backend: "wasm",
    wasmPath: path.join(modules, "@tensorflow/tfjs-backend-wasm/dist/"),
    modelBasePath: `${pathToFileURL(models)}/`,
    cacheSensitivity: 0, // every photo is looked at, also one that was seen before
    debug: false,
    filter: off,
    face: { detector: { maxDetected: 20 }, iris: off, emotion: off, description: { enabled: true, ...description } },
    body: off,
    hand: off,
    object: off,
    gesture: off,
    segmentation: off,
  });
  await human.load();
  await human.tf.ready();
  return { human, models, require, sharp: require("sharp") };
}
