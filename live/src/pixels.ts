/** Pixels: pictures, depths and masks that were made, as a canvas takes them. */

import type { Pixels, Tensor } from "./gen/webinfer/v1/inference_pb";

export interface Drawing {
  width: number;
  height: number;
  /** Red, green, blue and alpha of each pixel. */
  data: Uint8ClampedArray<ArrayBuffer>;
}

/** A picture. */
export function picture({ width, height, channels, data }: Pixels): Drawing {
  const drawing = blank(width, height);
  for (let pixel = 0; pixel < width * height; pixel++) {
    const at = pixel * channels;
    const colour = channels < 3 ? [data[at], data[at], data[at]] : [data[at], data[at + 1], data[at + 2]];
    const alpha = channels === 4 ? data[at + 3] : 255;
    drawing.data.set(
      [...colour, alpha].map((value) => value ?? 0),
      pixel * 4,
    );
  }
  return drawing;
}

/** Where a mask is, in a colour that lets what is below shine through. */
export function mask({ width, height, data }: Pixels, [red, green, blue]: readonly number[]): Drawing {
  const drawing = blank(width, height);
  for (let pixel = 0; pixel < width * height; pixel++) {
    drawing.data.set([red ?? 0, green ?? 0, blue ?? 0, (data[pixel] ?? 0) * 0.55], pixel * 4);
  }
  return drawing;
}

/** Depths, from dark blue for the least to yellow for the most. */
export function depth({ shape, data }: Tensor): Drawing {
  const [height, width] = [Number(shape[0] ?? 0), Number(shape[1] ?? 0)];
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const values = Array.from({ length: Math.min(width * height, data.byteLength >> 2) }, (_, at) =>
    view.getFloat32(at * 4, true),
  );
  const least = values.reduce((least, value) => Math.min(least, value), Infinity);
  const most = values.reduce((most, value) => Math.max(most, value), -Infinity);
  const drawing = blank(width, height);
  values.forEach((value, pixel) => {
    drawing.data.set([...ramp(most > least ? (value - least) / (most - least) : 0), 255], pixel * 4);
  });
  return drawing;
}

const RAMP = [
  [13, 8, 135],
  [126, 3, 168],
  [204, 71, 120],
  [248, 149, 64],
  [240, 249, 33],
] as const;

function ramp(part: number): number[] {
  const at = Math.min(part * (RAMP.length - 1), RAMP.length - 1.000_001);
  const [from, to] = [RAMP[Math.floor(at)], RAMP[Math.floor(at) + 1]];
  return [0, 1, 2].map((channel) => {
    const [begin, end] = [from?.[channel] ?? 0, to?.[channel] ?? 0];
    return begin + (end - begin) * (at % 1);
  });
}

/** Colours that are told apart, also by those who see few; they come again after the last. */
const COLOURS = [
  [0, 114, 178],
  [230, 159, 0],
  [0, 158, 115],
  [213, 94, 0],
  [204, 121, 167],
  [86, 180, 233],
  [240, 228, 66],
] as const;

export function colour(index: number): readonly number[] {
  return COLOURS[index % COLOURS.length] ?? COLOURS[0];
}

function blank(width: number, height: number): Drawing {
  return { width, height, data: new Uint8ClampedArray(width * height * 4) };
}
