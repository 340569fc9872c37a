/** Feeds: what is the same, and what is not. */
import "./runtime";
import * as ort from "onnxruntime-web/webgpu";
import { expect, test } from "vitest";
import { areSame, changed } from "../src/feeds";

const { Float16Array } = globalThis as { Float16Array?: unknown };

function floats(values: number[], dims = [1, values.length]) {
  return new ort.Tensor("float32", Float32Array.from(values), dims);
}

/** Numbers of 16 bits, by their bits. */
function halves(bits: number[]) {
  return new ort.Tensor("float16", Uint16Array.from(bits) as never, [1, bits.length]);
}

test.each([
  ["the same", [1, 2], [1, 2], true],
  ["nearly the same", [1, 2000], [1.5, 2000.5], true],
  ["something else", [1, 2], [1, 2.01], false],
  ["no number in the same place", [NaN, 2], [NaN, 2], true],
  ["no number in place of one", [NaN, 2], [1, 2], false],
  ["a number in place of none", [1, 2], [NaN, 2], false],
  ["without end, both", [-Infinity, 2], [-Infinity, 2], true],
  ["without end, one", [Infinity, 2], [1, 2], false],
  ["without end, the other", [1, 2], [Infinity, 2], false],
  ["without end, in the other direction", [Infinity, 2], [-Infinity, 2], false],
  ["less", [1, 2, 3], [1, 2], false],
  ["more", [1, 2], [1, 2, 3], false],
])("outputs that are %s", (_, left, right, same) => {
  expect(areSame(floats(left), floats(right))).toBe(same);
});

test("outputs of another shape are not the same", () => {
  expect(areSame(floats([1, 2, 3, 4], [2, 2]), floats([1, 2, 3, 4], [1, 4]))).toBe(false);
});

test.skipIf(Float16Array)("numbers of 16 bits that are held as such are compared as the numbers that they are", () => {
  const [one, minusOne, small, least, infinite, none] = [0x3c00, 0xbc00, 0x1400, 0x0001, 0x7c00, 0x7e00];
  // As integers these would be next to one another.
  expect(areSame(halves([0x0010]), halves([0x0011]), 0.01)).toBe(false);
  // And these far apart: 0 and -0 and, beside 1, nearly nothing.
  expect(areSame(halves([one, 0x8000]), halves([one, 0]))).toBe(true);
  expect(areSame(halves([one + 1, least]), halves([one, 0]), 0.01)).toBe(true);
  expect(areSame(halves([one]), halves([minusOne]), 0.5)).toBe(false);
  expect(areSame(halves([small]), halves([small]))).toBe(true);
  expect(areSame(halves([infinite, none]), halves([infinite, none]))).toBe(true);
  expect(areSame(halves([infinite]), halves([one]), 1e9)).toBe(false);
});

function longs(values: number[], dims: number[]) {
  return new ort.Tensor("int64", BigInt64Array.from(values.map(BigInt)), dims);
}

test("inputs become the same in another order", () => {
  const { input_ids } = changed({ input_ids: longs([1, 2, 3, 4], [2, 2]) });
  expect(input_ids).toMatchObject({ type: "int64", dims: [2, 2], data: BigInt64Array.of(4n, 3n, 2n, 1n) });
});

test("what is the same backwards gets rows that end otherwise", () => {
  const others = changed({
    attention_mask: longs([1, 1, 1, 1, 1, 1], [2, 3]),
    token_type_ids: longs([0, 0, 0, 0, 0, 0], [2, 3]),
    input_ids: longs([7, 7], [1, 2]),
  });
  expect(others.attention_mask!.data).toEqual(BigInt64Array.of(1n, 1n, 0n, 1n, 1n, 0n));
  expect(others.token_type_ids!.data).toEqual(BigInt64Array.of(0n, 0n, 1n, 0n, 0n, 1n));
  expect(others.input_ids!.data).toEqual(BigInt64Array.of(7n, 0n));
  const { pixels, flags } = changed({
    pixels: floats([0, 0, 0, 0], [1, 2, 2]),
    flags: new ort.Tensor("bool", Uint8Array.of(1, 1, 1, 1), [1, 4]),
  });
  expect(pixels!.data).toEqual(Float32Array.of(0, 0, 0, 1));
  expect(flags!.data).toEqual(Uint8Array.of(1, 1, 1, 0));
});

test.skipIf(Float16Array)("a one of 16 bits is one", () => {
  expect(changed({ x: halves([0, 0]) }).x!.data).toEqual(Uint16Array.of(0, 0x3c00));
});

test("what was given stays as it was", () => {
  const x = longs([1, 1], [1, 2]);
  changed({ x });
  expect(x.data).toEqual(BigInt64Array.of(1n, 1n));
});
