// Scores photos with an exported detector: node score_photo.js line3.onnx photo.png [photo.png ...]
"use strict";

const { readFileSync } = require("node:fs");
const ort = require("onnxruntime-node");
const sharp = require("sharp");
const { readMetadata } = require("../web/metadata.js");

// Returns a photo as the detector reads it: upright, over white, three bytes a pixel.
async function readPhoto(path) {
  const image = sharp(path);
  const { depth } = await image.metadata();
  if (depth !== "uchar") throw new Error(`${path} has pixels of ${depth}, and an exported file takes 8 bits.`);
  const upright = image.autoOrient().flatten({ background: "white" }).toColourspace("srgb");
  const { data, info } = await upright.raw().toBuffer({ resolveWithObject: true });
  return new ort.Tensor("uint8", data, [1, info.height, info.width, info.channels]);
}

async function main([model, ...photos]) {
  const bytes = readFileSync(model);
  const { threshold } = readMetadata(bytes);
  const session = await ort.InferenceSession.create(bytes);
  for (const photo of photos) {
    const found = await session.run({ photos: await readPhoto(photo) });
    const marked = found.mask.data.reduce((sum, one) => sum + one, 0) / found.mask.data.length;
    console.log(
      JSON.stringify({
        photo,
        score: found.score.data[0],
        is_anomaly: Boolean(found.is_anomaly.data[0]),
        p_value: found.p_value.data[0],
        threshold,
        marked,
      }),
    );
  }
}

main(process.argv.slice(2));
