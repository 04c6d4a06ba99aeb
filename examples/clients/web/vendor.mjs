// Puts onnxruntime-web where the page finds it. A page opened from a folder may neither fetch files nor import
// modules, but may run scripts: so the engine's module and its WebAssembly become strings in a script.
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const here = dirname(fileURLToPath(import.meta.url));
const dist = dirname(createRequire(import.meta.url).resolve("onnxruntime-web"));
const vendor = join(here, "vendor");

function compressed(name) {
  return JSON.stringify(gzipSync(readFileSync(join(dist, name))).toString("base64"));
}

mkdirSync(vendor, { recursive: true });
copyFileSync(join(dist, "ort.wasm.min.js"), join(vendor, "ort.wasm.min.js"));
writeFileSync(
  join(vendor, "ort.wasm.embedded.js"),
  `globalThis.ORT_EMBEDDED = {
  module: ${compressed("ort-wasm-simd-threaded.mjs")},
  binary: ${compressed("ort-wasm-simd-threaded.wasm")},
};
`,
);
