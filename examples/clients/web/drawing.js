// A photo on a canvas, its anomaly map over it, and an outline around what is marked.
"use strict";

// Colours of the map by its share of twice the threshold: nothing, amber at the threshold, dark red.
const STOPS = [
  [0.0, [255, 214, 102, 0]],
  [0.35, [255, 214, 102, 0.1]],
  [0.5, [250, 150, 40, 0.6]],
  [0.75, [220, 50, 47, 0.85]],
  [1.0, [120, 10, 60, 0.95]],
];
const LARGEST_SIDE = 1200;

function colourAt(share) {
  const at = Math.min(Math.max(share, 0), 1);
  const above = STOPS.findIndex(([place], index) => index > 0 && place >= at);
  const [[start, from], [stop, to]] = [STOPS[above - 1], STOPS[above]];
  return from.map((value, band) => value + ((to[band] - value) * (at - start)) / (stop - start));
}

function gradient() {
  const stops = STOPS.map(([place, [r, g, b, alpha]]) => `rgb(${r} ${g} ${b} / ${alpha}) ${100 * place}%`);
  return `linear-gradient(to right, ${stops.join(", ")})`;
}

function heatOf({ values, rows, columns }, threshold) {
  const heat = new ImageData(columns, rows);
  values.forEach((value, pixel) => {
    const [r, g, b, alpha] = colourAt(value / (2 * threshold));
    heat.data.set([r, g, b, 255 * alpha], 4 * pixel);
  });
  const canvas = new OffscreenCanvas(columns, rows);
  canvas.getContext("2d").putImageData(heat, 0, 0);
  return canvas;
}

// The sides of marked pixels beside which there is nothing marked, as a path in pixels of the map.
function outlineOf({ marked, rows, columns }) {
  const path = new Path2D();
  const isMarked = (row, column) =>
    row >= 0 && row < rows && column >= 0 && column < columns && marked[row * columns + column];
  for (let row = 0; row <= rows; row++) {
    for (let column = 0; column <= columns; column++) {
      const here = Boolean(isMarked(row, column));
      if (here !== Boolean(isMarked(row - 1, column))) {
        path.moveTo(column, row);
        path.lineTo(column + 1, row);
      }
      if (here !== Boolean(isMarked(row, column - 1))) {
        path.moveTo(column, row);
        path.lineTo(column, row + 1);
      }
    }
  }
  return path;
}

function draw(canvas, photo, map, window, threshold, strength) {
  const scale = Math.min(1, LARGEST_SIDE / Math.max(photo.width, photo.height));
  const width = Math.round(photo.width * scale), height = Math.round(photo.height * scale);
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(photo, 0, 0, width, height);
  const left = window.left * width, top = window.top * height;
  const across = window.width * width, down = window.height * height;
  context.globalAlpha = strength;
  context.drawImage(heatOf(map, threshold), left, top, across, down);
  context.globalAlpha = Math.min(1, 2 * strength);
  const toPhoto = new DOMMatrix([across / map.columns, 0, 0, down / map.rows, left, top]);
  const outline = new Path2D();
  outline.addPath(outlineOf(map), toPhoto);
  for (const [colour, share] of [["white", 0.009], ["black", 0.004]]) {
    context.strokeStyle = colour;
    context.lineWidth = Math.max(1, share * Math.min(width, height));
    context.stroke(outline);
  }
}
