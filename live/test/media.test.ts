/** Media: pictures, sound and vectors, number by number. */
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { PixelsSchema, TensorSchema } from "../src/gen/webinfer/v1/inference_pb";
import { depth, mask, picture } from "../src/pixels";
import { cosine, norm } from "../src/vectors";
import { wav } from "../src/wav";

const floats = (...values: number[]) => new Uint8Array(new Float32Array(values).buffer);

test("sound becomes a file of 16 bits, and what is too loud is cut", () => {
  const file = wav(floats(0, 1, -1, 2, NaN), 16_000);
  const view = new DataView(file.buffer);
  expect(new TextDecoder().decode(file.slice(0, 4))).toBe("RIFF");
  expect(view.getUint32(4, true)).toBe(file.length - 8);
  expect(view.getUint32(24, true)).toBe(16_000);
  expect(view.getUint32(40, true)).toBe(10);
  expect([0, 1, 2, 3, 4].map((at) => view.getInt16(44 + at * 2, true))).toEqual([0, 32_767, -32_767, 32_767, 0]);
});

test("pictures of any number of channels are drawn", () => {
  const pixels = (channels: number, ...data: number[]) =>
    picture(create(PixelsSchema, { width: 1, height: 1, channels, data: new Uint8Array(data) })).data;
  expect([...pixels(1, 7)]).toEqual([7, 7, 7, 255]);
  expect([...pixels(3, 1, 2, 3)]).toEqual([1, 2, 3, 255]);
  expect([...pixels(4, 1, 2, 3, 9)]).toEqual([1, 2, 3, 9]);
});

test("masks let through, and depths go from dark to light", () => {
  const over = mask(
    create(PixelsSchema, { width: 2, height: 1, channels: 1, data: new Uint8Array([0, 255]) }),
    [9, 8, 7],
  );
  expect([...over.data]).toEqual([9, 8, 7, 0, 9, 8, 7, 140]);
  const far = depth(create(TensorSchema, { shape: [1n, 2n], data: floats(3, 5) }));
  expect([far.width, far.height]).toEqual([2, 1]);
  expect([...far.data.slice(0, 4)]).toEqual([13, 8, 135, 255]);
  expect([...far.data.slice(4, 8)]).toEqual([240, 249, 33, 255]);
  const flat = depth(create(TensorSchema, { shape: [1n, 1n], data: floats(3) }));
  expect([...flat.data]).toEqual([13, 8, 135, 255]);
});

test("vectors are compared by their direction", () => {
  expect(norm([3, 4])).toBe(5);
  expect(cosine([1, 0], [2, 0])).toBe(1);
  expect(cosine([1, 0], [0, 1])).toBe(0);
  expect(cosine([0, 0], [0, 1])).toBe(0);
});
