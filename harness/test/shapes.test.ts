import "./runtime";
import * as ort from "onnxruntime-web/webgpu";
import { afterEach, expect, test, vi } from "vitest";
import { Placements } from "../src/placement";
import { FixedShapes } from "../src/shapes";

type Feeds = Record<string, ort.Tensor>;
type Options = ort.InferenceSession.SessionOptions;

const create = ort.InferenceSession.create;
const FILE = new Uint8Array(100);

afterEach(() => {
  ort.InferenceSession.create = create;
  vi.restoreAllMocks();
});

/** A runtime whose sessions double x; those of a fixed shape refuse others, and are all on WebNN. */
async function open(
  mostBytes: number,
  { wrong = false, refuses = undefined as unknown, options = {} as Options } = {},
) {
  const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
  const placements = new Placements();
  const made: object[] = [];
  const ran: string[] = [];
  let ended = 0;
  ort.InferenceSession.create = (async (_: Uint8Array, { freeDimensionOverrides }: Options) => {
    const fixed = freeDimensionOverrides && "rows" in freeDimensionOverrides ? freeDimensionOverrides : undefined;
    if (fixed && refuses) throw refuses;
    if (fixed) made.push(fixed);
    const provider = fixed ? "WebNNExecutionProvider" : "CPUExecutionProvider";
    placements.read(
      `2026-01-01 00:00:00.1 [V:onnxruntime:, x.cc:1 y]  All nodes placed on [${provider}]. Number of nodes: 7`,
    );
    const run = async ({ x }: Feeds) => {
      if (fixed) expect(x!.dims[0]).toBe(fixed["rows"]);
      ran.push(fixed ? "fixed" : "free");
      const values = (x!.data as Float32Array).map((value) => 2 * value + (fixed && wrong ? 1 : 0));
      return { y: new ort.Tensor("float32", values, x!.dims) };
    };
    const release = async () => void (ended += 1);
    return { run, release, inputMetadata: [{ name: "x", isTensor: true, type: "float32", shape: ["rows", 2] }] };
  }) as never;
  const told = vi.fn();
  const shapes = new FixedShapes(mostBytes, placements, told);
  shapes.watch();
  const session = await ort.InferenceSession.create(FILE, { executionProviders: ["webnn"], ...options });
  const run = async (...values: number[]) => {
    const x = new ort.Tensor("float32", Float32Array.from(values), [values.length / 2, 2]);
    const { y } = await session.run({ x });
    return [...(y!.data as Float32Array)];
  };
  return { shapes, shaped: shapes.of(session)!, run, made, ran, told, placements, warn, released: () => ended };
}

test("a shape that comes twice in the warm-up gets a session, which runs it from then on", async () => {
  const { shapes, run, made, ran, told, placements } = await open(1000);
  expect(await run(1, 2)).toEqual([2, 4]);
  expect(await run(3, 4)).toEqual([6, 8]);
  expect(told).not.toHaveBeenCalled();
  expect(await run(5, 6)).toEqual([10, 12]);
  expect(ran).toEqual(["free", "free", "fixed", "fixed"]);
  expect(made).toEqual([{ rows: 1 }]);
  const nodes = [expect.objectContaining({ provider: "WebNNExecutionProvider", nodes: 7 })];
  expect(told).toHaveBeenCalledExactlyOnceWith([1, 2], nodes);
  // What the model's own session said stays what it was.
  expect(placements.list()).toEqual([expect.objectContaining({ provider: "CPUExecutionProvider", nodes: 7 })]);
  shapes.settle();
  expect(await run(1, 2, 3, 4)).toEqual([2, 4, 6, 8]);
  expect(await run(5, 6)).toEqual([10, 12]);
  expect(ran.slice(4)).toEqual(["free", "fixed"]);
});

test("the library's own graphs, which name no provider, are left as they are", async () => {
  const { shapes, made, told } = await open(1000);
  const own = await ort.InferenceSession.create(FILE, {});
  const x = new ort.Tensor("float32", Float32Array.of(1, 2), [1, 2]);
  for (let run = 0; run < 3; run++) await own.run({ x });
  expect(shapes.of(own)).toBeUndefined();
  expect([made, told.mock.calls]).toEqual([[], []]);
});

test("there are as many as there is room for", async () => {
  const { shaped, run, made } = await open(500);
  for (let time = 0; time < 2; time++) {
    await run(1, 2);
    await run(1, 2, 3, 4);
  }
  const third = { x: new ort.Tensor("float32", new Float32Array(6), [3, 2]) };
  expect(shaped.hasRoom(third)).toBe(false);
  await run(1, 2, 3, 4, 5, 6);
  await run(1, 2, 3, 4, 5, 6);
  expect(made).toEqual([{ rows: 1 }, { rows: 2 }]);
});

test("weights beside the graph count, and what is not known has no room", async () => {
  const beside = (data: Uint8Array | string) => ({ options: { externalData: [{ path: "data", data }] } });
  const within = await open(599, beside(new Uint8Array(200)));
  await within.run(1, 2);
  await within.run(1, 2);
  expect(within.made).toEqual([]);
  const unknown = await open(1e9, beside("data"));
  await unknown.run(1, 2);
  await unknown.run(1, 2);
  expect(unknown.made).toEqual([]);
});

test.each([
  ["comes to something else", { wrong: true }],
  ["cannot be made", { refuses: new Error("no such graph") }],
])("a shape whose session %s runs on as it did", async (_, options) => {
  const { run, shaped, ran, told, warn, released } = await open(1000, options);
  for (let time = 0; time < 3; time++) expect(await run(1, 2)).toEqual([2, 4]);
  expect(ran.at(-1)).toBe("free");
  expect(shaped.hasRoom({ x: new ort.Tensor("float32", Float32Array.of(1, 2), [1, 2]) })).toBe(false);
  expect(told).not.toHaveBeenCalled();
  expect(warn).toHaveBeenCalledTimes(1);
  expect(released()).toBe("wrong" in options ? 1 : 0);
});

test("what is fatal to the runtime is no shape without a session", async () => {
  const { run, warn } = await open(1000, { refuses: new WebAssembly.RuntimeError("unreachable") });
  await run(1, 2);
  await expect(run(1, 2)).rejects.toMatchObject({ fatal: true });
  expect(warn).not.toHaveBeenCalled();
});

test("sizes that are fixed already stay so", async () => {
  const { run, made } = await open(1000, { options: { freeDimensionOverrides: { channels: 3 } } });
  for (let time = 0; time < 2; time++) await run(1, 2);
  expect(made).toEqual([{ channels: 3, rows: 1 }]);
});
