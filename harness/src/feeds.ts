/** Feeds: what goes into a session and comes out of it, by shape and by value. */
import type * as ort from "onnxruntime-web/webgpu";

type Feeds = Record<string, ort.Tensor>;

/** How far two runs of the same may be apart, as a part of the greatest number. Mostly not at all. */
const SAME = 1e-3;

/** Sizes of dimensions, by their names. */
export type Sizes = Record<string, number>;

/** Whether two outputs come to the same. */
export function areSame(left: ort.Tensor, right: ort.Tensor, most = SAME): boolean {
  const [a, b] = [left.data as Float32Array, right.data as Float32Array];
  let [greatest, apart] = [0, 0];
  for (let at = 0; at < b.length; at++) {
    const [one, other] = [Number(a[at]), Number(b[at])];
    // Rows that only fill a bucket may come to nothing.
    if (Object.is(one, other)) continue;
    greatest = Math.max(greatest, Math.abs(other));
    apart = Math.max(apart, Math.abs(one - other));
  }
  return apart <= most * greatest;
}

/** The sizes that a graph leaves free, as inputs have them. */
export function sizesOf({ inputMetadata }: ort.InferenceSession, feeds: Feeds): Sizes {
  const sizes: Sizes = {};
  for (const input of inputMetadata) {
    if (!input.isTensor) continue;
    input.shape.forEach((size, axis) => {
      if (typeof size === "string") sizes[size] = feeds[input.name]!.dims[axis]!;
    });
  }
  return sizes;
}

/** The shapes of inputs, as a key. */
export function shapesOf(feeds: Feeds): string {
  return Object.entries(feeds)
    .map(([name, { dims, type, location }]) => `${name} ${type} ${location} ${dims.join("x")}`)
    .sort()
    .join(", ");
}
