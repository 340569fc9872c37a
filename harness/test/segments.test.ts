/** Segments: what the tokens of a window tell, and where the next window begins. */
import { expect, test } from "vitest";
import { numbers } from "./runtime";
import { cut, segmentsOf } from "../src/tasks/segments";

/** Times begin with this token, and are this many seconds apart. */
const [FIRST, PRECISION] = [100, 0.5];
const at = (seconds: number) => FIRST + seconds / PRECISION;
const told = (...tokens: number[]) => segmentsOf(tokens, FIRST, PRECISION);

test("segments are between times", () => {
  expect(told(at(0), 1, 2, at(4), at(5), 3, at(6))).toEqual([
    { begin: 0, end: 4, tokens: [1, 2], at: 0 },
    { begin: 5, end: 6, tokens: [3], at: 4 },
  ]);
});

test("the last segment may have no end, be announced alone, or have no time at all", () => {
  expect(told(at(0), 1, at(4), at(4), 2)).toMatchObject([{ end: 4 }, { begin: 4, tokens: [2] }]);
  expect(told(at(0), 1, at(4), at(4)).at(-1)).toEqual({ begin: 4, tokens: [], at: 3 });
  expect(told(1, 2)).toEqual([{ begin: 0, tokens: [1, 2], at: 0 }]);
  expect(told()).toEqual([]);
});

test("a segment that is cut off is left to the next window, which begins with it", () => {
  const segments = told(at(0), 1, at(9), at(10), 2);
  expect(cut(segments, 30)).toEqual({ segments: segments.slice(0, 1), next: 10 });
});

test("a window that ends with a whole segment, or with nothing, is followed by the next", () => {
  const whole = told(at(0), 1, at(9));
  expect(cut(whole, 30)).toEqual({ segments: whole, next: 30 });
  expect(cut([], 30)).toEqual({ segments: [], next: 30 });
});

test("a segment that would bring little on is kept as it is", () => {
  const segments = told(at(2), 1, 2, 3);
  expect(cut(segments, 30)).toEqual({ segments, next: 30 });
});

test("each window brings on a quarter of it at least, whatever a model says", () => {
  const next = numbers();
  for (let round = 0; round < 300; round++) {
    const tokens = Array.from({ length: Math.floor(next() * 12) }, () => Math.floor(next() * 160));
    const seconds = 30;
    const segments = told(...tokens);
    const kept = cut(segments, seconds);
    expect(kept.next).toBeGreaterThanOrEqual(seconds / 4);
    // What is not kept is heard again.
    for (const left of segments.slice(kept.segments.length)) expect(left.begin).toBeGreaterThanOrEqual(kept.next);
  }
});
