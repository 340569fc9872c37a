/** Sampling: which tokens are left to draw from, held to what a sort of all of them gives. */
import { numbers } from "./runtime";
import { expect, test } from "vitest";
import { Tensor } from "@huggingface/transformers";
import { FailureKind } from "../src/gen/webinfer/bridge/v1/bridge_pb";
import { FiniteProcessor, type Sampling, SamplingProcessor, shape } from "../src/tasks/sampling";

/** Tokens that are left, the likeliest first, found the plain way. */
function expected(logits: Float32Array, { temperature, topK, topP }: Sampling): number[] {
  const order = [...logits.keys()].sort((left, right) => logits[right]! - logits[left]!);
  const first = topK > 0 ? order.slice(0, topK) : order;
  const powers = first.map((at) => Math.exp((logits[at]! - logits[order[0]!]!) / temperature));
  const whole = powers.reduce((sum, power) => sum + power, 0);
  let before = 0;
  // A token counts where those before it have less than p.
  return first.filter((_, rank) => {
    const counts = topP >= 1 || before < topP * whole - 1e-9;
    before += powers[rank]!;
    return counts;
  });
}

function left(logits: Float32Array): number[] {
  const kept = [...logits.keys()].filter((at) => logits[at] !== -Infinity);
  return kept.sort((left, right) => logits[right]! - logits[left]!);
}

test("what is left is the likeliest, and together as likely as was asked", () => {
  const next = numbers();
  for (let round = 0; round < 300; round++) {
    const logits = Float32Array.from({ length: 1 + Math.floor(next() * 400) }, () => (next() - 0.5) * 20);
    const sampling = {
      temperature: 0.1 + next() * 3,
      topK: next() < 0.4 ? 0 : 1 + Math.floor(next() * 60),
      topP: next() < 0.4 ? 1 : Math.max(0.01, next()),
    };
    const shaped = logits.slice();
    shape(shaped, sampling);
    expect(left(shaped), JSON.stringify(sampling)).toEqual(expected(logits, sampling));
    for (const at of left(shaped)) expect(shaped[at]).toBeCloseTo(logits[at]! / sampling.temperature, 4);
  }
});

test("at least one token is left, and what other rules forbid does not come back", () => {
  const logits = Float32Array.of(-Infinity, 3, -Infinity, 2, 1);
  const strict = logits.slice();
  shape(strict, { temperature: 1, topK: 0, topP: 1e-9 });
  expect(left(strict)).toEqual([1]);
  shape(logits, { temperature: 2, topK: 4, topP: 1 });
  expect([...logits]).toEqual([-Infinity, 1.5, -Infinity, 1, 0.5]);
});

test("the library's step shapes the logits in place", () => {
  const logits = new Tensor("float32", Float32Array.of(1, 4, 2), [1, 3]);
  const step = new SamplingProcessor({ temperature: 2, topK: 2, topP: 1 });
  expect(step([[]], logits)).toBe(logits);
  expect([...(logits.data as Float32Array)]).toEqual([-Infinity, 2, 1]);
});

test("logits that are not finite are refused, save those that are forbidden", () => {
  const check = (...logits: number[]) => {
    const processor = new FiniteProcessor();
    processor([[]], new Tensor("float32", Float32Array.from(logits), [1, logits.length]));
  };
  check(1, -Infinity, 2);
  for (const value of [NaN, Infinity]) {
    expect(() => check(1, value, -Infinity)).toThrow(expect.objectContaining({ kind: FailureKind.BAD_OUTPUT }));
  }
});
