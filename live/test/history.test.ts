/** History: what follows from the seconds that the service tells of. */
import { expect, test } from "vitest";
import { append, did, parts, SECONDS, sum } from "../src/history";
import { second } from "./make";

test("a second of one model is its own, and of all models their sum", () => {
  const one = { model: "a", answered: 2, items: 4, tokens: 9n, p50Us: 10n, p95Us: 20n, p99Us: 30n, queueItems: 1 };
  const both = second(1, one, { ...one, model: "b", p99Us: 50n });
  expect(did(both, "a")).toMatchObject({ answered: 2, items: 4, tokens: 9, p50: 10, p99: 30, queued: 1 });
  expect(did(both, undefined)).toMatchObject({ answered: 4, items: 8, tokens: 18, p50: 10, p99: 50, queued: 2 });
  expect(did(both, "c")).toMatchObject({ answered: 0, p50: undefined });
});

test("a second without an answer has no latency", () => {
  expect(did(second(1, { model: "a", failed: 1, p95Us: 0n }), "a")).toMatchObject({ failed: 1, p95: undefined });
});

test("over seconds all is added up but what waits", () => {
  const seconds = [
    second(1, { model: "a", failed: 1, queueItems: 9 }),
    second(2, { model: "a", failed: 2, queueItems: 3 }),
  ];
  expect(sum(seconds.map((second) => did(second, "a")))).toMatchObject({ failed: 3, queued: 3 });
});

test("only the last minutes are kept", () => {
  const many = Array.from({ length: SECONDS }, (_, index) => second(index));
  const kept = append(many, [second(SECONDS), second(SECONDS + 1)]);
  expect(kept.length).toBe(SECONDS);
  expect(Number(kept.at(0)?.endMs)).toBe(2000);
});

test("hops are parts of the time of a batch", () => {
  const timings = { queueUs: 30n, bridgeUs: 0n, preprocessUs: 0n, inferenceUs: 90n, postprocessUs: 0n };
  const [queue, , , inference] = parts(did(second(1, { model: "a", batches: 3, timings }), "a"));
  expect(queue).toEqual({ hop: "queue", us: 10, part: 0.25 });
  expect(inference).toEqual({ hop: "inference", us: 30, part: 0.75 });
  expect(parts(did(second(1), "a"))).toEqual([]);
});
