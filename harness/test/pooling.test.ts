/** Pooling: bit for bit what the library gives. */
import "./runtime";
import { mean_pooling, Tensor } from "@huggingface/transformers";
import { expect, test } from "vitest";
import { firstToken, meanPool, normalizeRows } from "../src/pooling";

/** Numbers without a pattern, the same in each run. */
function numbers(length: number): Float32Array {
  let state = 1;
  return Float32Array.from({ length }, () => (state = (state * 48271) % 2147483647) / 2147483647 - 0.5);
}

const bits = (floats: unknown) => new Uint32Array((floats as Float32Array).slice().buffer);

test.each([
  [1, 1, 4],
  [3, 7, 384],
  [8, 24, 33],
])("%i texts of up to %i tokens, %i wide", (count, tokens, size) => {
  const hidden = numbers(count * tokens * size);
  const mask = BigInt64Array.from({ length: count * tokens }, (_, at) =>
    at % tokens <= Math.floor(at / tokens) ? 1n : 0n,
  );
  const tensor = new Tensor("float32", hidden, [count, tokens, size]);
  const theirs = mean_pooling(tensor, new Tensor("int64", mask, [count, tokens]));

  const mean = meanPool(hidden, mask, [count, tokens, size]);
  expect(bits(mean)).toEqual(bits(theirs.data));
  normalizeRows(mean, size);
  expect(bits(mean)).toEqual(bits(theirs.normalize(2, -1).data));

  const first = firstToken(hidden, [count, tokens, size]);
  expect(bits(first)).toEqual(bits(tensor.slice(null, 0).data));
});

test("a text without tokens gives NaN, as the library does, for the check to find", () => {
  expect(meanPool(numbers(4), new BigInt64Array(2), [1, 2, 2])).toEqual(new Float32Array([NaN, NaN]));
});
