/** Feeds: what goes into a session and comes out of it, by shape and by value. */
import * as ort from "onnxruntime-web/webgpu";

type Feeds = Record<string, ort.Tensor>;

/** How far two runs of the same may be apart, as a part of the greatest number. Mostly not at all. */
export const SAME = 1e-3;
/** 1 as a number of 16 bits. */
const HALF_ONE = 0x3c00;

/** Sizes of dimensions, by their names. */
export type Sizes = Record<string, number>;

/** Whether two outputs come to the same. */
export function areSame(left: ort.Tensor, right: ort.Tensor, most = SAME): boolean {
  const [a, b] = [numbersOf(left), numbersOf(right)];
  if (String(left.dims) !== String(right.dims) || a.length !== b.length) return false;
  let [greatest, apart] = [0, 0];
  for (let at = 0; at < b.length; at++) {
    const [one, other] = [Number(a[at]), Number(b[at])];
    // Rows that only fill a bucket may come to nothing.
    if (Object.is(one, other)) continue;
    const between = Math.abs(one - other);
    if (!Number.isFinite(between)) return false;
    greatest = Math.max(greatest, Math.abs(other));
    apart = Math.max(apart, between);
  }
  return apart <= most * greatest;
}

/** Whether numbers of 16 bits are there as their bits: so they are where the browser has no other array for them. */
function areHalves({ type, data }: Pick<ort.Tensor, "type" | "data">): boolean {
  return type === "float16" && data instanceof Uint16Array;
}

function numbersOf(tensor: ort.Tensor): ArrayLike<number> {
  return areHalves(tensor) ? Float32Array.from(tensor.data as Uint16Array, half) : (tensor.data as Float32Array);
}

/** A number of 16 bits by its bits (IEEE 754, binary16). */
function half(bits: number): number {
  const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 0x1f, bits & 0x3ff];
  if (exponent === 0x1f) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24);
}

/** Bytes of a tensor; 0 where it is not on the CPU, or has no plain numbers. */
export function bytesOf(tensor: ort.Tensor): number {
  return tensor.location === "cpu" && ArrayBuffer.isView(tensor.data) ? tensor.data.byteLength : 0;
}

/** The GPU copies whole words. */
export function isWhole(tensor: ort.Tensor): boolean {
  const bytes = bytesOf(tensor);
  return bytes > 0 && bytes % 4 === 0;
}

/** Sizes, axes and the like have one dimension or none. The CPU reads them, which a replay does not do again. */
export function isData(tensor: ort.Tensor): boolean {
  return isWhole(tensor) && tensor.dims.length > 1;
}

/** Inputs with other numbers, each of them, that a graph takes as well: the same in another order, where that is another. */
export function changed(feeds: Feeds): Feeds {
  const others = Object.entries(feeds).map(([name, { type, data, dims }]) => {
    const values = (data as Float32Array).slice().reverse();
    if (values.every((value, at) => Object.is(value, data[at]))) flipLast({ type, data: values }, dims[0]!);
    return [name, new ort.Tensor(type as "float32", values, dims)];
  });
  return Object.fromEntries(others);
}

/** Has each row end with a zero, or with a one where it did: a mask or a token takes both, and so does what is no integer. */
function flipLast(tensor: Pick<ort.Tensor, "type" | "data">, rows: number): void {
  const values = tensor.data as Float32Array;
  const isBig = tensor.data instanceof BigInt64Array || tensor.data instanceof BigUint64Array;
  const [zero, one] = isBig ? [0n, 1n] : [0, areHalves(tensor) ? HALF_ONE : 1];
  const length = values.length / rows;
  for (let last = length - 1; last < values.length; last += length) {
    values[last] = (Number(values[last]) === 0 ? one : zero) as number;
  }
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
