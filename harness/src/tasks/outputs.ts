/** Outputs: results as they travel. What no model means is never one: numbers that are not finite. */
import type { RawImage } from "@huggingface/transformers";
import { FailureKind } from "../gen/webinfer/bridge/v1/bridge_pb";
import { Failure } from "../failure";
import type { Output } from "./task";

/** A label with its score, as the library gives it. */
export interface Scored {
  label: string;
  score: number;
}

/** How many labels, words or the like an item gets where it does not say. */
export const TOP_K = 5;

export function finite(value: number, what = "a score"): number {
  if (Number.isFinite(value)) return value;
  throw new Failure(FailureKind.BAD_OUTPUT, `${what} is not finite`);
}

/** Refuses numbers that no model means: one that is not finite, or nothing but zeros. */
export function checkNumbers(values: Iterable<number> & { length: number }, what: string): void {
  let sum = 0;
  for (const value of values) sum += Math.abs(value);
  if (sum > 0 && sum < Infinity) return;
  throw new Failure(FailureKind.BAD_OUTPUT, `${what} is ${sum === 0 ? "all zero" : "not finite"}`);
}

/**
 * Refuses outputs of a model some of which is not a number. No comparison with one is true, so that a step which compares
 * would find nothing, as in a picture that shows nothing.
 */
export function checkOutputs(outputs: object): void {
  for (const [name, output] of Object.entries(outputs)) {
    const { location, data } = output as { location?: string; data?: unknown };
    if (location !== "cpu" || !(data instanceof Float32Array)) continue;
    if (data.some(Number.isNaN))
      throw new Failure(FailureKind.BAD_OUTPUT, `what the model gives as ${name} is no number`);
  }
}

export function classes(all: readonly Scored[], topK: number): Output {
  for (const { score } of all) finite(score);
  const best = [...all].sort((left, right) => right.score - left.score).slice(0, topK);
  return { case: "classes", value: { classes: best } };
}

/** The vector of a text or a picture. */
export function embedding(values: Float32Array): Output {
  checkNumbers(values, "the vector");
  // The message wants a plain array; the encoder takes this one as it is.
  return { case: "embedding", value: { values: values as unknown as number[] } };
}

export function pixels({ data, width, height, channels }: RawImage): {
  data: Uint8Array<ArrayBuffer>;
  width: number;
  height: number;
  channels: number;
} {
  const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
  return { data: bytes, width, height, channels };
}

/** The index and the value of the greatest ones, in their order. */
export function greatest(values: Float32Array | number[], count: number): [index: number, value: number][] {
  const best: [number, number][] = [];
  for (let index = 0; index < values.length; index++) {
    const value = values[index]!;
    const last = best[best.length - 1];
    if (best.length >= count && last && value <= last[1]) continue;
    let at = best.length;
    while (at > 0 && best[at - 1]![1] < value) at--;
    best.splice(at, 0, [index, value]);
    if (best.length > count) best.pop();
  }
  return best;
}

export function softmax(logits: ArrayLike<number>): Float32Array {
  let most = -Infinity;
  for (let at = 0; at < logits.length; at++) most = Math.max(most, logits[at]!);
  const powers = Float32Array.from(logits, (logit) => Math.exp(logit - most));
  let sum = 0;
  for (const power of powers) sum += power;
  return powers.map((power) => power / sum);
}

/** How sure a classifier is of each of its labels: of several each is true or not for itself, as one alone is. */
export function scoresOf({ problem_type }: { problem_type?: string }, logits: number[]): number[] {
  const isEachItsOwn = problem_type === "multi_label_classification" || logits.length === 1;
  return isEachItsOwn ? logits.map(sigmoid) : [...softmax(logits)];
}

export function sigmoid(logit: number): number {
  return 1 / (1 + Math.exp(-logit));
}
