/** Sampling: which tokens are drawn, held to what a sort of all of them gives. */
import { numbers } from "./runtime";
import { expect, test } from "vitest";
import { Tensor } from "@huggingface/transformers";
import { FailureKind } from "../src/gen/webinfer/bridge/v1/bridge_pb";
import { draw, FiniteProcessor, likeliest, type Sampling, SamplingProcessor } from "../src/tasks/sampling";

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

const tokens = (ranked: readonly (readonly [number, number])[]) => ranked.map(([token]) => token);

test("what is drawn from is the likeliest, and together as likely as was asked", () => {
  const next = numbers();
  for (let round = 0; round < 300; round++) {
    const logits = Float32Array.from({ length: 1 + Math.floor(next() * 400) }, () => (next() - 0.5) * 20);
    const sampling = {
      temperature: 0.1 + next() * 3,
      topK: next() < 0.4 ? 0 : 1 + Math.floor(next() * 60),
      topP: next() < 0.4 ? 1 : Math.max(0.01, next()),
    };
    const ranked = likeliest(logits, sampling).sort(([, left], [, right]) => right - left);
    expect(tokens(ranked), JSON.stringify(sampling)).toEqual(expected(logits, sampling));
    const [[first]] = ranked as [[number, number]];
    for (const [token, power] of ranked) {
      expect(power).toBeCloseTo(Math.exp((logits[token]! - logits[first]!) / sampling.temperature), 5);
    }
  }
});

test("at least one token is left, and what other rules forbid is never drawn", () => {
  const logits = Float32Array.of(-Infinity, 3, -Infinity, 2, 1);
  expect(tokens(likeliest(logits, { temperature: 1, topK: 0, topP: 1e-9 }))).toEqual([1]);
  for (const sampling of [
    { temperature: 2, topK: 4, topP: 1 },
    { temperature: 2, topK: 0, topP: 1 },
    { temperature: 2, topK: 0, topP: 0.999 },
  ]) {
    const ranked = likeliest(logits, sampling);
    const drawn = new Set(Array.from({ length: 101 }, (_, at) => draw(ranked, at / 100)));
    expect([...drawn].sort()).toEqual([1, 3, 4]);
  }
});

test("each token is drawn as often as it is likely", () => {
  const ranked: [number, number][] = [
    [5, 1],
    [2, 0.5],
    [9, 0],
    [7, 0.5],
  ];
  const drawn = Array.from({ length: 1000 }, (_, at) => draw(ranked, at / 1000));
  const count = (token: number) => drawn.filter((one) => one === token).length;
  expect([5, 2, 9, 7].map(count)).toEqual([500, 250, 0, 250]);
});

test("the library's step leaves the one that was drawn", () => {
  const logits = new Tensor("float32", Float32Array.of(1, 4, 2), [1, 3]);
  const step = new SamplingProcessor({ temperature: 2, topK: 1, topP: 1 });
  expect(step([[]], logits)).toBe(logits);
  expect([...(logits.data as Float32Array)]).toEqual([-Infinity, 0, -Infinity]);
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
