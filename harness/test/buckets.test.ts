import "./runtime";
import * as ort from "onnxruntime-web/webgpu";
import { expect, test, vi } from "vitest";
import { axesOf, Buckets, cutTo, type Most, movedBy, padTo } from "../src/buckets";

type Feeds = Record<string, ort.Tensor>;

function tensor(name: string, shape: (number | string)[], type = "int64") {
  return { name, isTensor: true as const, type: type as "int64", shape };
}

const text = {
  inputMetadata: [tensor("input_ids", ["batch", "tokens"]), tensor("attention_mask", ["batch", "tokens"])],
  outputMetadata: [tensor("hidden", ["batch", "tokens", 2], "float32"), tensor("pooled", ["batch", 2], "float32")],
};

test("a graph says what may be padded of it", () => {
  expect(axesOf(text)).toEqual({ rows: "batch", length: "tokens" });
  const picture = {
    inputMetadata: [tensor("pixel_values", ["n", 3, "h", "w"])],
    outputMetadata: [tensor("logits", ["n", 5])],
  };
  expect(axesOf(picture)).toEqual({ rows: "n" });
});

test.each([
  ["rows that are fixed", [tensor("input_ids", [1, "tokens"])], text.outputMetadata],
  ["an output that has no rows", text.inputMetadata, [tensor("mean", [2])]],
])("%s are not padded", (_, inputMetadata, outputMetadata) => {
  expect(axesOf({ inputMetadata, outputMetadata })).toBeUndefined();
});

test.each([
  ["without a mask", [tensor("input_ids", ["batch", "tokens"])], text.outputMetadata],
  [
    "with an input that means something else",
    [...text.inputMetadata, tensor("bbox", ["batch", "tokens", 4])],
    text.outputMetadata,
  ],
  ["with an output whose length is called otherwise", text.inputMetadata, [tensor("hidden", ["batch", "out", 2])]],
  ["with a length in a third dimension", text.inputMetadata, [tensor("scores", ["batch", 4, "tokens"])]],
])("a length %s stays as it is", (_, inputMetadata, outputMetadata) => {
  expect(axesOf({ inputMetadata, outputMetadata })).toEqual({ rows: "batch" });
});

function ids(rows: number[][]): Feeds {
  const make = (values: number[]) =>
    new ort.Tensor("int64", BigInt64Array.from(values.map(BigInt)), [rows.length, rows[0]!.length]);
  return { input_ids: make(rows.flat()), attention_mask: make(rows.flat().map(() => 1)) };
}

test("what is added is no token, and the mask says so", () => {
  const padded = padTo(ids([[5, 6]]), { rows: 2, length: 3 }, 9n);
  expect(padded.input_ids).toMatchObject({ dims: [2, 3], data: BigInt64Array.of(5n, 6n, 9n, 9n, 9n, 9n) });
  expect(padded.attention_mask!.data).toEqual(BigInt64Array.of(1n, 1n, 0n, 0n, 0n, 0n));
});

test("what fits already is not copied", () => {
  const feeds = ids([[5, 6]]);
  expect(padTo(feeds, { rows: 1, length: 2 }, 9n)).toEqual(feeds);
  expect(padTo(feeds, { rows: 1, length: 2 }, 9n).input_ids).toBe(feeds.input_ids);
});

test("outputs are cut in rows and in length", () => {
  const values = Float32Array.from({ length: 12 }, (_, at) => at);
  const outputs = {
    hidden: new ort.Tensor("float32", values, [2, 3, 2]),
    pooled: new ort.Tensor("float32", values.slice(0, 4), [2, 2]),
  };
  const cut = cutTo(outputs, { rows: 1, length: 2 }, (name) => name === "hidden");
  expect(cut.hidden).toMatchObject({ dims: [1, 2, 2], data: Float32Array.of(0, 1, 2, 3) });
  expect(cut.pooled).toMatchObject({ dims: [1, 2], data: Float32Array.of(0, 1) });
});

/** A session that gives each token twice, and says which shapes it ran. */
function open(hasRoom = true, most: Partial<Most> = {}, isFixed = false) {
  const run = vi.fn(async ({ input_ids }: Feeds) => {
    const { data, dims } = input_ids!;
    const hidden = Float32Array.from({ length: 2 * data.length }, (_, at) => Number((data as BigInt64Array)[at >> 1]));
    const pooled = Float32Array.from({ length: 2 * dims[0]! }, (_, at) => at);
    return {
      hidden: new ort.Tensor("float32", hidden, [...dims, 2]),
      pooled: new ort.Tensor("float32", pooled, [dims[0]!, 2]),
    };
  });
  const session = { ...text, run } as unknown as ort.InferenceSession;
  const all = { rows: 8, length: 64, pad: 0n, moved: movedBy(["fp32"]), ...most };
  const buckets = Buckets.over(session, { isFixed, hasRoom: () => hasRoom }, all)!;
  const ran = () => run.mock.calls.map(([feeds]) => feeds.input_ids!.dims);
  return { session, buckets, ran, run };
}

test("a run goes in the least bucket that takes it, and comes out as it was asked", async () => {
  const { session, ran } = open();
  const { hidden, pooled } = await session.run(ids(Array.from({ length: 5 }, (_, row) => Array(20).fill(row + 1))));
  expect(ran()).toEqual([[6, 24]]);
  expect(hidden!.dims).toEqual([5, 20, 2]);
  expect(pooled!.dims).toEqual([5, 2]);
  expect([...(hidden!.data as Float32Array)].filter((_, at) => at % 40 === 0)).toEqual([1, 2, 3, 4, 5]);
});

test("what is longer or more than any bucket runs as it is", async () => {
  const { session, ran } = open(true, { rows: 1000, length: 1000 });
  await session.run(ids(Array.from({ length: 300 }, () => Array(600).fill(1))));
  expect(ran()).toEqual([[300, 600]]);
});

test("no bucket is longer than the model's longest text", async () => {
  const { session, ran } = open(true, { rows: 3, length: 20 });
  await session.run(ids([Array(18).fill(1), Array(18).fill(1), Array(18).fill(1)]));
  expect(ran()).toEqual([[3, 20]]);
});

test("what will not be recorded is not padded", async () => {
  const { session, ran } = open(false);
  await session.run(ids([[1, 2, 3]]));
  expect(ran()).toEqual([[1, 3]]);
});

test.each([
  ["in the least of few", 1, 17, [1, 32]],
  ["in one that takes all rows", 6, 60, [8, 64]],
  ["as it is, where that is much larger", 2, 30, [2, 30]],
  ["as it is, where none is long enough", 1, 129, [1, 129]],
  ["in a small one, which costs little", 1, 2, [1, 16]],
])("what has a session for a shape runs %s", async (_, rows, length, shape) => {
  const { session, ran } = open(true, { rows: 8, length: 512 }, true);
  const { hidden } = await session.run(ids(Array.from({ length: rows }, () => Array(length).fill(1))));
  expect(ran()).toEqual([shape]);
  expect(hidden!.dims).toEqual([rows, length, 2]);
});

test("it warms up with one row and with the most, in the usual lengths", async () => {
  const { session, buckets, ran } = open();
  await session.run(ids([Array(20).fill(7), Array(20).fill(7)]));
  await buckets.warmUp();
  const twice = (shape: number[]) => [shape, shape];
  expect(ran().slice(0, 4)).toEqual([
    [2, 24],
    [2, 20],
    [3, 24],
    [8, 64],
  ]);
  expect(ran().slice(4)).toEqual(
    [
      [1, 16],
      [1, 32],
      [1, 64],
      [8, 16],
      [8, 32],
      [8, 64],
    ].flatMap(twice),
  );
});

test("a graph in which padding changes the answer runs in the sizes that are asked", async () => {
  const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
  const { session, buckets, ran, run } = open();
  // Its longest text decides.
  run.mockImplementation(async ({ input_ids }: Feeds) => {
    const [rows, length] = input_ids!.dims as [number, number];
    const hidden = new ort.Tensor("float32", new Float32Array(2 * rows * length).fill(length), [rows, length, 2]);
    return { hidden, pooled: new ort.Tensor("float32", new Float32Array(2 * rows).fill(length), [rows, 2]) };
  });
  await session.run(ids([Array(20).fill(7)]));
  await buckets.warmUp();
  expect(warn).toHaveBeenCalledExactlyOnceWith(expect.stringContaining("padding changes"));
  const before = ran().length;
  await session.run(ids([Array(20).fill(7)]));
  expect(ran().slice(before)).toEqual([[1, 20]]);
  warn.mockRestore();
});

/** A session that gives 1 for each token, and more by a part where its run is of a shape. */
function moving(by: number, isThere: (rows: number, length: number) => boolean) {
  return async ({ input_ids }: Feeds) => {
    const [rows, length] = input_ids!.dims as [number, number];
    const value = isThere(rows, length) ? 1 + by : 1;
    const hidden = new ort.Tensor("float32", new Float32Array(2 * rows * length).fill(value), [rows, length, 2]);
    return { hidden, pooled: new ort.Tensor("float32", new Float32Array(2 * rows).fill(value), [rows, 2]) };
  };
}

test.each([
  ["fp32", 0.005, true],
  ["fp16", 0.005, false],
  ["fp16", 0.015, true],
  ["q8", 0.015, false],
  ["q4f16", 0.015, false],
  ["q8", 0.03, true],
])("an answer in %s that is moved by %d: %s", async (dtype, by, isMoved) => {
  const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
  const { session, buckets, run } = open(true, { moved: movedBy([dtype]) });
  run.mockImplementation(moving(by, (rows) => rows === 3));
  const text = [Array(20).fill(7), Array(20).fill(7)];
  await session.run(ids(text));
  await buckets.warmUp();
  expect(warn).toHaveBeenCalledTimes(isMoved ? 1 : 0);
  warn.mockRestore();
});

test("of several graphs the one that computes least exactly decides", () => {
  expect(movedBy(["fp32", "q8", "fp16"])).toBe(movedBy(["q8"]));
  expect(movedBy([])).toBe(movedBy(["fp32"]));
});

test("padding that changes the answer in the largest shape alone is found out", async () => {
  const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
  const { session, buckets, run } = open();
  run.mockImplementation(moving(0.5, (rows, length) => rows === 8 && length === 64));
  await session.run(ids([Array(20).fill(7)]));
  await buckets.warmUp();
  expect(warn).toHaveBeenCalledExactlyOnceWith(expect.stringContaining("padding changes"));
  warn.mockRestore();
});
