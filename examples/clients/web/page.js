// The page: takes a model and a photo in any order, by choosing or dropping, and shows what the model says.
"use strict";

const byId = (id) => document.getElementById(id);
const shown = { detector: null, photo: null, found: null };

function say(text, isError = false) {
  byId("message").textContent = text;
  byId("message").classList.toggle("error", isError);
}

// Upright, over white, in the file's own colours: as the detector reads it.
async function readPhoto(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    throw new Error(`"${file.name}" is not a photo that this browser can read.`);
  }
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, bitmap.width, bitmap.height);
  context.drawImage(bitmap, 0, 0);
  return canvas;
}

async function openModel(file) {
  say(`Opening ${file.name} …`);
  shown.detector = await Detector.open(new Uint8Array(await file.arrayBuffer()));
  const { network, n_learned: learned } = shown.detector.metadata;
  byId("model-name").textContent = `${file.name}: ${network}, ${learned} photos learned`;
  byId("model-card").classList.add("given");
}

async function openPhoto(file) {
  shown.photo = await readPhoto(file);
  byId("photo-name").textContent = `${file.name}: ${shown.photo.width} × ${shown.photo.height}`;
  byId("photo-card").classList.add("given");
}

const digits = (value) => Number(value.toPrecision(4)).toString();

function percentage(share) {
  if (share === 0) return "nothing";
  return share < 0.001 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;
}

function showNumbers({ score, isAnomaly, pValue, map }, milliseconds) {
  const { threshold, loo_scores: calibration } = shown.detector.metadata;
  byId("verdict").textContent = isAnomaly ? "Anomalous" : "Good";
  byId("result").dataset.verdict = isAnomaly ? "anomalous" : "good";
  const marked = map.marked.reduce((sum, one) => sum + one, 0) / map.marked.length;
  byId("score").textContent = digits(score);
  byId("score").dataset.value = score;
  byId("threshold").textContent = digits(threshold);
  byId("p-value").textContent = Number.isNaN(pValue) ? "none" : digits(pValue);
  byId("p-value").dataset.value = pValue;
  byId("marked").textContent = percentage(marked);
  byId("time").textContent = `${Math.round(milliseconds)} ms`;
  byId("meaning").textContent = meaningOf(pValue, calibration.length);
}

// A p-value counts those that score as high, and this photo: (n + 1) / (all + 1).
function meaningOf(pValue, others) {
  if (!others) return "No p-value: this model does not know how good photos score.";
  const reaching = Math.round(pValue * (others + 1)) - 1;
  return `Of ${others} good photos, ${reaching || "none"} ${reaching > 1 ? "score" : "scores"} this high.`;
}

function redraw() {
  if (!shown.found) return;
  const { detector, photo, found } = shown;
  const strength = byId("strength").value / 100;
  draw(byId("canvas"), photo, found.map, detector.window(), detector.metadata.threshold, strength);
}

async function inspect() {
  if (!shown.detector) return say("Now the model.");
  if (!shown.photo) return say("Now a photo.");
  say("Looking …");
  await new Promise((painted) => setTimeout(painted, 30));
  const { width, height } = shown.photo;
  const pixels = shown.photo.getContext("2d").getImageData(0, 0, width, height);
  const start = performance.now();
  shown.found = await shown.detector.inspect(pixels);
  showNumbers(shown.found, performance.now() - start);
  redraw();
  byId("result").dataset.state = "done";
  say("");
}

// One at a time: a photo that is dropped while another is looked at waits.
let queue = Promise.resolve();
function take(files) {
  queue = queue.then(() => takeNow(files)).catch((error) => {
    byId("result").dataset.state = "empty";
    shown.found = null;
    say(error.message, true);
  });
}

async function takeNow(files) {
  const isModel = (file) => file.name.toLowerCase().endsWith(".onnx");
  const model = files.find(isModel), photo = files.find((file) => !isModel(file));
  if (model) await openModel(model);
  if (photo) await openPhoto(photo);
  if (model || photo) await inspect();
}

for (const id of ["model", "photo"]) {
  byId(id).addEventListener("change", ({ target }) => {
    take([...target.files]);
    target.value = ""; // The same file may be chosen again.
  });
}
byId("strength").addEventListener("input", redraw);
byId("bar").style.backgroundImage = gradient();

const drop = byId("drop");
addEventListener("dragenter", () => (drop.hidden = false));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("dragleave", ({ relatedTarget }) => (drop.hidden = relatedTarget !== null));
addEventListener("drop", (event) => {
  event.preventDefault();
  drop.hidden = true;
  take([...event.dataTransfer.files]);
});
