/**
 * Buckets: pads what a run is given to one of a few shapes, and cuts what comes of it to what was asked. What is recorded or
 * made for a shape then serves all that fits into it.
 */
import * as ort from "onnxruntime-web/webgpu";
import { areSame, SAME } from "./feeds";

type Feeds = Record<string, ort.Tensor>;
type Outputs = Record<string, ort.Tensor>;
type Numbers = Float32Array;
type Shape = readonly (number | string)[];

/** Sizes of a bucket: some third apart. */
const ROWS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256];
const LENGTHS = [16, 24, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512];
/** Lengths of the warm-up. Where shapes have sessions of their own there are no others, and as many rows as one or all. */
const FEW_LENGTHS = [16, 32, 64, 128];
/** How much larger than what is put into it one of few buckets may be: about what it gives back. */
const WASTE = 2;
/** Tokens of a bucket that always may be: a run costs more than they do. */
const SMALL = 32;
/**
 * How far an answer may be moved by what is added, as a part of its greatest number. Kernels of 8 bits do it a little; those of
 * 16 bits round to a part of 1/1024, and not in the same places for all shapes.
 */
const MOVED = { few: 0.02, fp16: 0.01, fp32: SAME };
/** Inputs of a text model; it has a mask, so that it takes no notice of what is added. */
const TOKENS: Readonly<Record<string, "pad" | "zero">> = {
  input_ids: "pad",
  attention_mask: "zero",
  token_type_ids: "zero",
};

/** What is known of a session that runs some shapes faster than others. */
export interface Shaped {
  /** Whether each of these shapes has a session of its own, which is made in the warm-up or not at all. */
  readonly isFixed: boolean;
  /** Whether a shape is one of these, or will be when it comes again. */
  hasRoom(feeds: Feeds): boolean;
}

/** The sessions of a worker that run some shapes faster than others. */
export interface Shapes {
  /** Has each session that this realm creates from now on be one, the library's own too. */
  watch(): void;
  /** What is known of a session; nothing where it is none. */
  of(session: ort.InferenceSession): Shaped | undefined;
  /** The warm-up is over: lets go of the models that further sessions would be made of. */
  settle(): void;
}

/** How many rows a run has, and how long each is; 0 where its inputs are not padded to a length. */
export interface Size {
  rows: number;
  length: number;
}

/** What may be padded of a graph, by what its inputs and outputs declare. */
export interface Axes {
  /** The name of the first dimension of all inputs and outputs. */
  rows: string;
  /** The name of the second one of the inputs of a text. */
  length?: string;
}

/** Nothing where the graph does not say that its rows are apart. */
export function axesOf({ inputMetadata, outputMetadata }: Declared): Axes | undefined {
  const shapes = (all: Declared["inputMetadata"]): Shape[] => all.map((value) => (value.isTensor ? value.shape : []));
  const [inputs, outputs] = [shapes(inputMetadata), shapes(outputMetadata)];
  const rows = inputs[0]?.[0];
  if (typeof rows !== "string" || ![...inputs, ...outputs].every((shape) => shape[0] === rows)) return undefined;
  const length = inputs[0]?.[1];
  const areTokens = inputMetadata.every(({ name }) => name in TOKENS) && "attention_mask" in byName(inputMetadata);
  const isLength = (shape: Shape) => shape.length === 2 && shape[1] === length;
  // A length is cut where it is the second dimension, and what is called otherwise does not change with it.
  const isCut = (shape: Shape) => shape.slice(2).every((size) => typeof size === "number" || size !== length);
  const isKnown = (shape: Shape) => shape.slice(1).every((size) => typeof size === "number" || size === length);
  const padded = areTokens && typeof length === "string" && inputs.every(isLength);
  return padded && outputs.every((shape) => isCut(shape) && isKnown(shape)) ? { rows, length } : { rows };
}

type Declared = Pick<ort.InferenceSession, "inputMetadata" | "outputMetadata">;

function cells({ rows, length }: Size): number {
  return rows * Math.max(length, 1);
}

function byName(values: Declared["inputMetadata"]): Record<string, true> {
  return Object.fromEntries(values.map(({ name }) => [name, true]));
}

/** The least bucket that takes so many; the number itself where none does. */
function upTo(buckets: readonly number[], size: number, most: number): number {
  const bucket = buckets.find((bucket) => bucket >= size) ?? size;
  return Math.max(size, Math.min(bucket, most));
}

/** What a model takes at most. */
export interface Most {
  rows: number;
  length: number;
  /** The token that stands for none. */
  pad: bigint;
  /** How far its answers may be moved by what is added, as a part of the greatest number. */
  moved: number;
}

/** How far graphs of these dtypes may be moved: as far as that which computes least exactly. */
export function movedBy(dtypes: readonly string[]): number {
  const moved = dtypes.map((dtype) => MOVED[dtype === "fp32" || dtype === "fp16" ? dtype : "few"]);
  return Math.max(SAME, ...moved);
}

/** Has a session's runs padded to the shapes that are faster. */
export class Buckets {
  readonly #session: ort.InferenceSession;
  readonly #shaped: Shaped;
  readonly #axes: Axes;
  readonly #most: Most;
  readonly #run: (feeds: Feeds) => Promise<Outputs>;
  #last: Feeds | undefined;
  /** Whether what is added was seen to change the answer. */
  #isMoved = false;

  /** Nothing where the graph's inputs cannot be padded. */
  static over(session: ort.InferenceSession, shaped: Shaped, most: Most): Buckets | undefined {
    const axes = axesOf(session);
    return axes && new Buckets(session, shaped, axes, most);
  }

  private constructor(session: ort.InferenceSession, shaped: Shaped, axes: Axes, most: Most) {
    [this.#session, this.#shaped, this.#axes, this.#most] = [session, shaped, axes, most];
    const run = (this.#run = session.run.bind(session) as (feeds: Feeds) => Promise<Outputs>);
    session.run = (async (feeds: Feeds) => {
      this.#last = feeds;
      if (this.#isMoved) return run(feeds);
      const size = this.#sizeOf(feeds);
      const bucket = this.#bucket(size);
      if (this.#shaped.isFixed && cells(bucket) > Math.max(SMALL, WASTE * cells(size))) return run(feeds);
      const padded = padTo(feeds, bucket, this.#most.pad);
      if (!this.#shaped.hasRoom(padded)) return run(feeds);
      return cutTo(await run(padded), size, this.#declared());
    }) as typeof session.run;
  }

  /** Runs the sizes that come most, so that they are recorded or made: as the last run, with more rows and longer. */
  async warmUp(): Promise<void> {
    const last = this.#last;
    if (!last) return;
    this.#isMoved = await this.#moves(last);
    if (this.#isMoved)
      return console.warn("padding changes what comes of this graph: it runs in the sizes that are asked");
    for (const size of this.#usual()) {
      const feeds = padTo(rowOf(last, size.length), size, this.#most.pad);
      for (let run = 0; run < 2 && this.#shaped.hasRoom(feeds); run++) await this.#session.run(feeds);
    }
  }

  /** The sizes of the warm-up. */
  #usual(): Size[] {
    const lengths = this.#axes.length ? FEW_LENGTHS.filter((length) => length <= this.#most.length) : [0];
    return this.#fewRows().flatMap((rows) => lengths.map((length) => ({ rows, length })));
  }

  /** Whether the answer changes with what is added, such as where a graph takes no notice of its mask. */
  async #moves(feeds: Feeds): Promise<boolean> {
    const size = this.#sizeOf(feeds);
    const right = await this.#run(feeds);
    const isMoved = async (padded: Feeds): Promise<boolean> => {
      const cut = cutTo(await this.#run(padded), size, this.#declared());
      return Object.entries(right).some(([name, tensor]) => !areSame(cut[name]!, tensor, this.#most.moved));
    };
    const next = this.#bucket({ rows: size.rows + 1, length: size.length && size.length + 1 });
    if (await isMoved(padTo(feeds, next, this.#most.pad))) return true;
    const { rows, length } = this.#usual().at(-1) ?? next;
    const last = { rows: Math.max(rows, size.rows), length };
    // As much is added as there can be.
    const padded = padTo(feeds, last, this.#most.pad);
    return cells(last) > cells(next) && this.#shaped.hasRoom(padded) && (await isMoved(padded));
  }

  #sizeOf(feeds: Feeds): Size {
    const [rows = 0, length = 0] = Object.values(feeds)[0]!.dims;
    return { rows, length: this.#axes.length ? length : 0 };
  }

  #bucket({ rows, length }: Size): Size {
    const [allRows, lengths] = this.#shaped.isFixed ? [this.#fewRows(), FEW_LENGTHS] : [ROWS, LENGTHS];
    return {
      rows: upTo(allRows, rows, this.#most.rows),
      length: length && upTo(lengths, length, this.#most.length),
    };
  }

  #fewRows(): number[] {
    return [...new Set([1, this.#most.rows])];
  }

  #declared(): (name: string) => boolean {
    const { outputMetadata } = this.#session;
    const { length } = this.#axes;
    const cut = new Set(
      outputMetadata.filter((value) => value.isTensor && value.shape[1] === length).map(({ name }) => name),
    );
    return (name) => length !== undefined && cut.has(name);
  }
}

/** The first row of each input, no longer than a bucket that is so long. */
function rowOf(feeds: Feeds, length: number): Feeds {
  return map(feeds, (_, tensor) => {
    const dims = [1, ...tensor.dims.slice(1)];
    if (length > 0) dims[1] = Math.min(length, dims[1]!);
    const values = (tensor.data as Numbers).subarray(
      0,
      dims.reduce((all, size) => all * size),
    );
    return new ort.Tensor(tensor.type as "float32", values, dims);
  });
}

/** Inputs with so many rows, each so long. What is added is no token, or zero. */
export function padTo(feeds: Feeds, { rows, length }: Size, pad: bigint): Feeds {
  return map(feeds, (name, tensor) => {
    const dims = [rows, ...tensor.dims.slice(1)];
    if (length > 0) dims[1] = Math.max(length, dims[1]!);
    if (dims.every((size, axis) => size === tensor.dims[axis])) return tensor;
    const values = tensor.data as Numbers;
    const padded = new (values.constructor as Float32ArrayConstructor)(dims.reduce((all, size) => all * size));
    if (length > 0 && TOKENS[name] === "pad") (padded as unknown as BigInt64Array).fill(pad);
    const [from, to] = [values.length / tensor.dims[0]!, padded.length / rows];
    for (let row = 0; row < tensor.dims[0]!; row++) {
      padded.set(values.subarray(row * from, (row + 1) * from), row * to);
    }
    return new ort.Tensor(tensor.type as "float32", padded, dims);
  });
}

/** Outputs with so many rows, and those of which `isLong` says so no longer than the inputs were. */
export function cutTo(outputs: Outputs, { rows, length }: Size, isLong: (name: string) => boolean): Outputs {
  return map(outputs, (name, tensor) => {
    const dims = [rows, ...tensor.dims.slice(1)];
    if (isLong(name)) dims[1] = length;
    if (dims.every((size, axis) => size === tensor.dims[axis])) return tensor;
    const values = tensor.data as Numbers;
    const [from, to] = [values.length / tensor.dims[0]!, dims.slice(1).reduce((all, size) => all * size, 1)];
    if (from === to) return new ort.Tensor(tensor.type as "float32", values.subarray(0, rows * to), dims);
    const cut = new (values.constructor as Float32ArrayConstructor)(rows * to);
    for (let row = 0; row < rows; row++) cut.set(values.subarray(row * from, row * from + to), row * to);
    return new ort.Tensor(tensor.type as "float32", cut, dims);
  });
}

function map(tensors: Feeds, change: (name: string, tensor: ort.Tensor) => ort.Tensor): Feeds {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, change(name, tensor)]));
}
