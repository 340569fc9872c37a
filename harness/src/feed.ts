/** Feed: whether a graph's inputs are what the graph declares. Pure. */
import { badInput } from "./failure";
import { badTensor, carries } from "./tensors";

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
export function checkFeed(feed: Readonly<Record<string, Fed>>, expected: readonly TensorMetadata[]): void {
  for (const input of expected) {
    const given = feed[input.name];
    if (given && fits(given, input)) continue;
    const wants = `${input.type}[${input.shape.map((size) => (size === "" ? "?" : size)).join(",")}]`;
    const got = given ? `${given.type}[${given.dims.join(",")}]` : "nothing";
    throw badTensor(input.name, `expected ${wants}, got ${got}`);
  }
  for (const name of Object.keys(feed)) {
    if (expected.some((input) => input.name === name)) continue;
    const known = expected.map((input) => input.name).join(", ");
    throw badInput(`tensor ${JSON.stringify(name)} is not an input of the graph, which has ${known}`);
  }
}

function fits({ type, dims }: Fed, expected: TensorMetadata): boolean {
  return (
    type === expected.type &&
    dims.length === expected.shape.length &&
    expected.shape.every((size, axis) => typeof size === "string" || size === dims[axis])
  );
}
