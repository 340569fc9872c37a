/** Heap: the last figure stays where the browser does not tell. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Heap } from "../src/heap";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("it is measured again and again, and what was measured last counts", async () => {
  const heap = new Heap();
  const measure = vi
    .fn<() => Promise<{ bytes: number }>>()
    .mockResolvedValueOnce({ bytes: 5 })
    .mockRejectedValueOnce(new Error("hidden"))
    .mockResolvedValueOnce({ bytes: 7 });
  heap.watch({ measureUserAgentSpecificMemory: measure });
  await vi.advanceTimersByTimeAsync(0);
  expect(heap.bytes).toBe(5);
  await vi.advanceTimersByTimeAsync(30_000);
  expect(heap.bytes).toBe(5);
  await vi.advanceTimersByTimeAsync(30_000);
  expect(heap.bytes).toBe(7);
});

test("a browser that cannot tell has 0", async () => {
  const heap = new Heap();
  heap.watch({});
  await vi.advanceTimersByTimeAsync(60_000);
  expect(heap.bytes).toBe(0);
});
