// A detector in the browser: from the bytes of an exported file, and a photo's pixels, to its outputs.
"use strict";

async function unpacked(base64, type) {
  const packed = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream, { headers: { "Content-Type": type } }).blob();
}

async function startEngine() {
  if (typeof ort === "undefined" || typeof ORT_EMBEDDED === "undefined")
    throw new Error('The folder "vendor" is missing: run "npm install" in the folder of this page.');
  const loader = await unpacked(ORT_EMBEDDED.module, "text/javascript");
  ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(loader) };
  ort.env.wasm.wasmBinary = await (await unpacked(ORT_EMBEDDED.binary, "application/wasm")).arrayBuffer();
  ort.env.wasm.numThreads = 1; // More need a server that sends two headers.
}

class Detector {
  static started = null;

  static async open(bytes) {
    const metadata = readMetadata(bytes);
    Detector.started ??= startEngine();
    await Detector.started;
    return new Detector(await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] }), metadata);
  }

  constructor(session, metadata) {
    this.session = session;
    this.metadata = metadata;
  }

  // Takes an ImageData without transparency.
  async inspect({ data, width, height }) {
    const pixels = new Uint8Array(width * height * 3);
    for (let from = 0, to = 0; from < data.length; from += 4) {
      pixels[to++] = data[from];
      pixels[to++] = data[from + 1];
      pixels[to++] = data[from + 2];
    }
    const photos = new ort.Tensor("uint8", pixels, [1, height, width, 3]);
    const found = await this.session.run({ photos });
    const [, rows, columns] = found.anomaly_map.dims;
    return {
      score: found.score.data[0],
      isAnomaly: Boolean(found.is_anomaly.data[0]),
      pValue: found.p_value.data[0],
      map: { values: found.anomaly_map.data, marked: found.mask.data, rows, columns },
    };
  }

  // Where the map lies in a photo, in shares of its sides: the network may see only the middle.
  window() {
    const [height, width] = this.metadata.resized_size;
    const [rows, columns] = this.metadata.input_size;
    const top = Math.floor((height - rows) / 2), left = Math.floor((width - columns) / 2);
    return { left: left / width, top: top / height, width: columns / width, height: rows / height };
  }
}
