/** Feed: whether a graph's inputs are what the graph declares. Pure. */
import { badInput } from "./failure";
import { carries } from "./tensors";

/** A graph's input or output: a number is a fixed dimension, a string a free one. */
export interface TensorMetadata {
  name: string;
  type: string;
  shape: readonly (number | string)[];
}

/** What the runtime tells of a graph's input or output. */
export type ValueMetadata = { name: string } & (
  { isTensor: false } | ({ isTensor: true } & Omit<TensorMetadata, "name">)
);

/** A tensor of a feed, as far as it is looked at. */
interface Fed {
  type: string;
  dims: readonly number[];
}

/** Throws where the graph has a value that cannot travel. */
export function tensorMetadata(kind: "input" | "output", values: readonly ValueMetadata[]): TensorMetadata[] {
  return values.map((value) => {
    const type = value.isTensor ? value.type : "not a tensor";
    if (!value.isTensor || !carries(type))
      throw new Error(`${kind} ${JSON.stringify(value.name)} is ${type}, which is not supported`);
    return { name: value.name, type, shape: value.shape.map((size) => (isFixed(size) ? size : String(size))) };
  });
}

/** Some graphs mark a free dimension with -1 in place of a name. */
function isFixed(size: number | string): size is number {
  return typeof size === "number" && size >= 0;
}

/** Throws BAD_INPUT naming the tensor, what the graph expects and what came. */
export function checkFeed(feed: Record<string, Fed>, expected: TensorMetadata[], index: number): void {
  for (const { name, type, shape } of expected) {
    const given = feed[name];
    const wants = `expected ${type}[${shape.map((size) => size || "?").join(",")}]`;
    const tensor = `item ${index}: tensor ${JSON.stringify(name)}`;
    if (!given) throw badInput(`${tensor}: ${wants}, got nothing`);
    const fits =
      given.type === type &&
      given.dims.length === shape.length &&
      shape.every((size, axis) => typeof size === "string" || size === given.dims[axis]);
    if (!fits) throw badInput(`${tensor}: ${wants}, got ${given.type}[${given.dims.join(",")}]`);
  }
  const known = expected.map(({ name }) => name);
  const extra = Object.keys(feed).find((name) => !known.includes(name));
  if (extra !== undefined)
    throw badInput(
      `item ${index}: tensor ${JSON.stringify(extra)} is not an input of the graph, which has ${known.join(", ")}`,
    );
}
