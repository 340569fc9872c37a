/** Tensor: items that fail alone, and stopping between items, with a session that stands in for the runtime's. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import * as ort from "onnxruntime-web/webgpu";
import { afterEach, expect, test, vi } from "vitest";
import { Clock } from "../src/clock";
import { Failure, type Settled } from "../src/failure";
import { Batching, FailureKind } from "../src/gen/webinfer/bridge/v1/bridge_pb";
import { DataType, type Item, ItemSchema, ParametersSchema } from "../src/gen/webinfer/v1/inference_pb";
import { ModelSpecSchema } from "../src/gen/webinfer/v1/model_pb";
import type { OpenTask, Output } from "../src/tasks/task";
import { openTensor } from "../src/tasks/tensor";

type Feed = Record<string, ort.Tensor>;

afterEach(() => vi.restoreAllMocks());

/** A model with the input x and the output y, which is what `run` makes of x. */
async function open(run: (x: ort.Tensor) => ort.Tensor, shape: (number | string)[] = [2]) {
  const values = (name: string) => [{ name, isTensor: true, type: "float32", shape }];
  const ran = vi.fn(async ({ x }: Feed) => ({ y: run(x!) }));
  const session = { inputMetadata: values("x"), outputMetadata: values("y"), run: ran };
  vi.spyOn(ort.InferenceSession, "create").mockResolvedValue(session as unknown as ort.InferenceSession);
  const clock = new Clock();
  const task = await openTensor({
    base: "/models/m/",
    spec: create(ModelSpecSchema, { dtypes: { model: "fp32" } }),
    device: "wasm",
    files: { bytes: async () => new Uint8Array() } as unknown as OpenTask["files"],
    externalData: [],
    logSeverityLevel: 3,
    enableProfiling: false,
    clock,
  });
  return { task, clock, session: { run: ran } };
}

type Opened = Awaited<ReturnType<typeof open>>;

function item(...values: number[]): Item {
  const x = {
    dataType: DataType.FLOAT32,
    shape: [BigInt(values.length)],
    data: new Uint8Array(Float32Array.from(values).buffer),
  };
  return create(ItemSchema, { input: { case: "tensors", value: { tensors: { x } } } });
}

function other(input: MessageInitShape<typeof ItemSchema>["input"]): Item {
  return create(ItemSchema, { input: input! });
}

/** Reads and runs the items of a call, as the runner does. */
async function run({ task, clock }: Opened, items: Item[], pause?: () => Promise<void>): Promise<Settled<Output>[]> {
  clock.start(0, pause);
  const parameters = create(ParametersSchema);
  const outputs = await task.run(items.map((item) => ({ read: task.read(item) as Feed, parameters })));
  expect(clock.stop().tokens).toBe(0);
  return outputs;
}

/** The numbers of y, or the kind and the words of the failure. */
function told(settled: Settled<Output>): unknown {
  if (settled instanceof Failure) return [settled.kind, settled.message];
  const y = settled.case === "tensors" ? settled.value.tensors?.["y"]?.data : undefined;
  return y && [...new Float32Array(y.slice().buffer)];
}

test("items share a call, each with a run of its own", async () => {
  const { task } = await open((x) => x);
  expect(task.batching).toBe(Batching.IN_TURN);
});

test.each<[Item, string]>([
  [item(3), 'tensor "x": expected float32[2], got float32[1]'],
  [other({ case: "text", value: "no" }), "expected tensors, got a text"],
  [
    other({ case: "tensors", value: { tensors: { x: { dataType: 99 as DataType } } } }),
    'tensor "x": data_type 99 is not known',
  ],
])("an item that does not fit is refused: %#", async (given, message) => {
  const { task } = await open((x) => x);
  expect(() => task.read(given)).toThrow(expect.objectContaining({ kind: FailureKind.BAD_INPUT, message }));
});

test("an item whose run fails does so alone, and what the graph refuses is bad input", async () => {
  const opened = await open((x) => {
    if (x.data[0] === 1) throw new Error("ERROR_CODE: 2, ERROR_MESSAGE: out of range");
    if (x.data[0] === 2) throw new Error("ERROR_CODE: 6, ERROR_MESSAGE: std::bad_alloc");
    return x;
  });
  expect((await run(opened, [item(1, 0), item(2, 0), item(3, 0)])).map(told)).toEqual([
    [FailureKind.BAD_INPUT, "ERROR_CODE: 2, ERROR_MESSAGE: out of range"],
    [FailureKind.OUT_OF_MEMORY, "ERROR_CODE: 6, ERROR_MESSAGE: std::bad_alloc"],
    [3, 0],
  ]);
});

test.each([4321, new WebAssembly.RuntimeError("unreachable"), new Error("the device was lost")])(
  "%s fails the whole call, and the items after it do not run",
  async (error) => {
    const opened = await open((x) => {
      if (x.data[0] === 2) throw error;
      return x;
    });
    await expect(run(opened, [item(1, 0), item(2, 0), item(3, 0)])).rejects.toMatchObject({ fatal: true });
    expect(opened.session.run).toHaveBeenCalledTimes(2);
  },
);

test("an output that cannot travel is its item's failure", async () => {
  const opened = await open((x) => (x.data[0] === 1 ? new ort.Tensor("uint32", new Uint32Array(2), [2]) : x));
  const [first, second] = await run(opened, [item(1, 0), item(2, 0)]);
  expect(told(first!)).toEqual([FailureKind.RUNTIME, "an output is uint32, which is not supported"]);
  expect(told(second!)).toEqual([2, 0]);
});

test("a call pauses between its items alone, and what the pause throws ends it", async () => {
  const opened = await open((x) => x);
  const { session } = opened;
  const pause = vi.fn(async () => {});
  await run(opened, [item(1, 0)], pause);
  expect(pause).not.toHaveBeenCalled();
  await run(opened, [item(1, 0), item(2, 0), item(3, 0)], pause);
  expect(pause).toHaveBeenCalledTimes(2);

  session.run.mockClear();
  const cancelled = new Failure(FailureKind.CANCELLED, "cancelled");
  await expect(run(opened, [item(1, 0), item(2, 0)], () => Promise.reject(cancelled))).rejects.toBe(cancelled);
  expect(session.run).toHaveBeenCalledOnce();
});

test("it warms up with zeros where all dimensions are fixed, and a failure there is not swallowed", async () => {
  const fixed = await open((x) => x, [2, 3]);
  await fixed.task.warmUp();
  expect(fixed.session.run.mock.calls[0]?.[0]["x"]).toMatchObject({ type: "float32", dims: [2, 3] });
  const free = await open((x) => x, ["batch", 3]);
  await free.task.warmUp();
  expect(free.session.run).not.toHaveBeenCalled();
  const broken = await open(() => {
    throw new Error("no kernel");
  });
  await expect(broken.task.warmUp()).rejects.toThrow("no kernel");
});
