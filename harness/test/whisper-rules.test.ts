/** Whisper rules: which tokens may follow those that were made. */
import { numbers } from "./runtime";
import { expect, test } from "vitest";
import { Tensor } from "@huggingface/transformers";
import { allowed, Only, TimesProcessor } from "../src/tasks/whisper-rules";

/** Tokens: text up to the end mark, the mark of no times, then times. */
const [END, NO_TIMES, FIRST, ALL] = [8, 9, 10, 30];
const TIMES = { no_timestamps_token_id: NO_TIMES, eos_token_id: END, max_initial_timestamp_index: 5 };
const PROMPT = [6, 7];

/** Tokens that may follow, where each is as likely as any other. */
function next(...made: number[]): number[] {
  const logits = new Tensor("float32", new Float32Array(ALL), [1, ALL]);
  new TimesProcessor(TIMES, PROMPT)([[...PROMPT, ...made].map(BigInt)], logits);
  return [...(logits.data as Float32Array).entries()].filter(([, logit]) => logit > -Infinity).map(([token]) => token);
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, at) => from + at);

test("the first token is a time near the start", () => {
  expect(next()).toEqual(range(FIRST, FIRST + 6));
});

test("a time that begins a segment is followed by text, and text by anything but the past", () => {
  expect(next(12)).toEqual(range(0, NO_TIMES));
  // Together, times are likelier than any text here.
  expect(next(12, 1)).toEqual(range(13, ALL));
});

test("a segment's end is followed by the end, or by a time that is not before it", () => {
  expect(next(12, 1, 15)).toEqual(expect.arrayContaining([15, 16, ALL - 1]));
  expect(next(12, 1, 15).filter((token) => token < 15)).toEqual([]);
});

test("times never go back, whatever is made", () => {
  const random = numbers();
  for (let round = 0; round < 100; round++) {
    const made: number[] = [];
    for (let step = 0; step < 20; step++) {
      const choices = next(...made);
      if (choices.length === 0) break;
      // Text in between, so that not all of it is times.
      const text = made.length > 0 && random() < 0.4 && made.at(-1)! >= FIRST && choices[0]! < FIRST;
      made.push(text ? 1 : choices[Math.floor(random() * choices.length)]!);
    }
    const times = made.filter((token) => token >= FIRST);
    expect(times).toEqual([...times].sort((left, right) => left - right));
  }
});

test("without a bound, the first time may be any", () => {
  expect(allowed([], FIRST, Infinity)).toEqual([FIRST, Infinity]);
});

test("of some tokens alone, the rest is forbidden", () => {
  const logits = new Tensor("float32", Float32Array.of(5, 1, 2, 9), [1, 4]);
  new Only([1, 2])([[]], logits);
  expect([...(logits.data as Float32Array)]).toEqual([-Infinity, 1, 2, -Infinity]);
});
