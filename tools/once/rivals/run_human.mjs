// Asks the npm package @vladmandic/human about chips or photos, in Node with WebAssembly; see README.md.
//
// node run_human.mjs CHIPS.json ANSWERS.json --modules FOLDER
//
// CHIPS.json is what tools.once.rivals.measure writes, FOLDER one whose node_modules has what
// tools/bench_rivals/package.json names. Labels are in the list for whoever measures; they are not read here.

import { readFile, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { parseArgs } from "node:util";

import { loadHuman } from "../../bench_rivals/human.mjs";

const { values, positionals } = parseArgs({ options: { modules: { type: "string" } }, allowPositionals: true });
const [asked, answered] = positionals;
// It keeps a gender to itself that it is not sure of: here it has to say one, as the others do.
const { human, models, require, sharp } = await loadHuman(values.modules, { minConfidence: 0 });

const { folder, frame, chips } = JSON.parse(await readFile(asked, "utf-8"));

/** A picture with a grey frame, as agegender puts it around one before it detects. */
async function framed(file) {
  const wide = frame.pixels_wide;
  const background = { r: frame.grey, g: frame.grey, b: frame.grey };
  const image = sharp(path.join(folder, file)).removeAlpha().toColourspace("srgb");
  const border = { top: wide, bottom: wide, left: wide, right: wide, background };
  const { data, info } = await image.extend(border).raw().toBuffer({ resolveWithObject: true });
  return human.tf.tensor(data, [1, info.height, info.width, 3], "float32");
}

/** Of several faces the one nearest to the middle: a chip is about one face, and that is where it is. */
function mainFace(faces, [, height, width]) {
  const away = ({ box: [left, top, w, h] }) => Math.hypot(2 * left + w - width, 2 * top + h - height);
  return faces.toSorted((a, b) => away(a) - away(b))[0];
}

/**
 * Years and the probability of female, both null where no face was found, or one to which it says no number: its
 * last class has no neighbour to weigh. genderScore is 2 |p - 1/2|.
 */
function answer(face) {
  if (!Number.isFinite(face?.age)) return { age: null, female: null };
  const half = (face.genderScore ?? 0) / 2;
  return { age: face.age, female: face.gender === "female" ? 0.5 + half : 0.5 - half };
}

const answers = [];
let seconds = 0;
let processor = 0;
for (const [index, { file }] of chips.entries()) {
  const tensor = await framed(file);
  const [began, used] = [performance.now(), process.cpuUsage()];
  const { face, error } = await human.detect(tensor);
  if (error) throw new Error(error);
  const { user, system } = process.cpuUsage(used);
  // The first one compiles and loads.
  seconds += index ? (performance.now() - began) / 1e3 : 0;
  processor += index ? (user + system) / 1e6 : 0;
  answers.push({ file, ...answer(mainFace(face, tensor.shape)) });
  tensor.dispose();
  if ((index + 1) % 500 === 0) console.error(`human: ${index + 1} of ${chips.length}`);
}

let bytes = 0;
for (const name of ["blazeface", "facemesh", "faceres"]) {
  for (const ending of ["bin", "json"]) bytes += (await stat(path.join(models, `${name}.${ending}`))).size;
}
const version = (name) => require(path.resolve(values.modules, "node_modules", name, "package.json")).version;
const names = ["@vladmandic/human", "@tensorflow/tfjs-core", "@tensorflow/tfjs-backend-wasm", "sharp"];
const report = {
  name: "human",
  version: human.version,
  detector: "own",
  megabytes: Math.round(bytes / 1e5) / 10,
  url: "https://github.com/vladmandic/human",
  licence: "MIT",
  packages: Object.fromEntries(names.map((name) => [name, version(name)])),
  seconds,
  processor_seconds: processor,
  answers,
};
await writeFile(answered, JSON.stringify(report));
