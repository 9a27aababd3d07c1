// Times the npm package @vladmandic/human on photos, in Node with WebAssembly; see README.md.
//
// node run_human.mjs MODULES PHOTO... --repeats N prints JSON; without repeats, only what it finds.
// MODULES is the folder whose node_modules it takes.

import { parseArgs } from "node:util";

import { loadHuman } from "./human.mjs";

const { values, positionals } = parseArgs({ options: { repeats: { type: "string", default: "0" } }, allowPositionals: true });
const [folder, ...photos] = positionals;
const repeats = Number(values.repeats);
const { human, sharp } = await loadHuman(folder);

async function predict(photo) {
  const { data, info } = await sharp(photo).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  const tensor = human.tf.tensor(data, [1, info.height, info.width, 3], "float32");
  const { face, error } = await human.detect(tensor);
  tensor.dispose();
  if (error) throw new Error(error);
  return face;
}

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
