/** Outputs: what is told of numbers, and which of them are none. */
import { numbers } from "./runtime";
import { expect, test } from "vitest";
import { FailureKind } from "../src/gen/webinfer/bridge/v1/bridge_pb";
import {
  checkNumbers,
  checkOutputs,
  classes,
  embedding,
  greatest,
  scoresOf,
  sigmoid,
  softmax,
} from "../src/tasks/outputs";
import { spans } from "../src/tasks/question-answering";

const bad = expect.objectContaining({ kind: FailureKind.BAD_OUTPUT });

test("the greatest are those that a sort puts first", () => {
  const next = numbers();
  for (let round = 0; round < 200; round++) {
    const values = Float32Array.from({ length: Math.floor(next() * 50) }, next);
    const count = 1 + Math.floor(next() * 10);
    const sorted = [...values.entries()].sort(([, left], [, right]) => right - left).slice(0, count);
    expect(greatest(values, count)).toEqual(sorted);
  }
});

test("a softmax adds up to one, however large the logits", () => {
  for (const logits of [
    [1, 2, 3],
    [1000, 999],
    [-1e4, -1e4, -Infinity],
  ]) {
    expect(softmax(logits).reduce((sum, value) => sum + value, 0)).toBeCloseTo(1, 6);
  }
  expect(softmax([0, Math.log(3)])[1]).toBeCloseTo(0.75, 6);
  expect(sigmoid(Math.log(3))).toBeCloseTo(0.75, 6);
});

test("of labels that do not exclude each other each has a score of its own, and so has one alone", () => {
  expect(scoresOf({}, [0, 0])).toEqual([0.5, 0.5]);
  expect(scoresOf({ problem_type: "multi_label_classification" }, [0, 40])).toEqual([0.5, 1]);
  expect(scoresOf({}, [0])).toEqual([0.5]);
});

test("classes are the likeliest first, and a score that is no number is none", () => {
  const all = [
    { label: "a", score: 0.2 },
    { label: "b", score: 0.7 },
    { label: "c", score: 0.1 },
  ];
  expect(classes(all, 2)).toEqual({ case: "classes", value: { classes: [all[1], all[0]] } });
  expect(() => classes([{ label: "a", score: NaN }], 1)).toThrow(bad);
});

test("numbers that no model means are refused, and others are not", () => {
  checkNumbers(Float32Array.of(0, -1), "the sound");
  for (const value of [NaN, Infinity, -Infinity]) {
    expect(() => checkNumbers(Float32Array.of(1, value), "the sound")).toThrow("the sound is not finite");
  }
  expect(() => embedding(new Float32Array(3))).toThrow("the vector is all zero");
});

test("outputs some of which is no number are refused, and others are not", () => {
  const output = (...data: number[]) => ({ location: "cpu", data: Float32Array.from(data) });
  checkOutputs({ logits: output(1, -Infinity), ids: { location: "cpu", data: BigInt64Array.of(1n) } });
  // What is on a GPU cannot be read here.
  checkOutputs({ cache: { location: "gpu-buffer" } });
  expect(() => checkOutputs({ logits: output(1), boxes: output(1, NaN) })).toThrow("boxes");
});

test("answers are the likeliest stretches that do not end before they begin", () => {
  const next = numbers();
  const likelihoods = () => Float32Array.from({ length: 12 }, () => (next() < 0.3 ? 0 : next()));
  for (let round = 0; round < 100; round++) {
    const [starts, ends] = [likelihoods(), likelihoods()];
    const all: number[] = [];
    starts.forEach((start, from) => ends.subarray(from).forEach((end) => start * end > 0 && all.push(start * end)));
    const found = spans(starts, ends, 4);
    expect(found.map(([, , score]) => score)).toEqual(all.sort((left, right) => right - left).slice(0, 4));
    for (const [start, end, score] of found) {
      expect(end).toBeGreaterThanOrEqual(start);
      expect(score).toBe(starts[start]! * ends[end]!);
    }
  }
});
