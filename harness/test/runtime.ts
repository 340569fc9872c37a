/** Runtime: what the library finds in place of its own in Node, where it would look for a native one. Import it first. */
import * as runtime from "onnxruntime-common";

Object.assign(globalThis, { [Symbol.for("onnxruntime")]: runtime });

/** Numbers from 0 to 1 without a pattern, the same in each run. */
export function numbers(seed = 1): () => number {
  let state = seed;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
}
