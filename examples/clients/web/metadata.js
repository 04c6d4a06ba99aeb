// What an exported file says of itself. The engines for JavaScript do not hand out the metadata of a model, which
// are pairs of strings at the outermost level of the file: a message of protocol buffers.
"use strict";

const METADATA_PROPS = 14; // The field of ModelProto.
const VARINT = 0, EIGHT_BYTES = 1, LENGTH = 2, FOUR_BYTES = 5;

// Yields the number and the bytes of each field that has a length; passes over all others.
function* fieldsOf(bytes) {
  let at = 0;
  function varint() {
    let value = 0;
    for (let scale = 1; at < bytes.length; scale *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    throw new Error("This is not an ONNX file, or it is cut short.");
  }
  while (at < bytes.length) {
    const tag = varint();
    const kind = tag % 8;
    if (kind === VARINT) varint();
    else if (kind === EIGHT_BYTES) at += 8;
    else if (kind === FOUR_BYTES) at += 4;
    else if (kind === LENGTH) {
      const length = varint();
      if (at + length > bytes.length) throw new Error("This is not an ONNX file, or it is cut short.");
      yield [Math.floor(tag / 8), bytes.subarray(at, at + length)];
      at += length;
    } else throw new Error("This is not an ONNX file.");
  }
}

// Returns the values of "skpadim.NAME" by NAME, from the bytes of a file.
function readMetadata(bytes) {
  const text = new TextDecoder();
  const values = {};
  for (const [field, pair] of fieldsOf(bytes)) {
    if (field !== METADATA_PROPS) continue;
    const [key, value] = Array.from(fieldsOf(pair), ([, string]) => text.decode(string));
    if (key.startsWith("skpadim.")) values[key.slice("skpadim.".length)] = JSON.parse(value);
  }
  if (!("threshold" in values)) throw new Error("This ONNX file was not exported by skpadim.");
  return values;
}

if (typeof module !== "undefined") module.exports = { readMetadata };
