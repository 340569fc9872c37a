/** Runner: what a task makes of a batch, as the frame that tells of it. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { badInput, Failure, type Settled } from "../src/failure";
import {
  Batching,
  EndProfileSchema,
  FailureKind,
  LoadSchema,
  RunItemSchema,
} from "../src/gen/webinfer/bridge/v1/bridge_pb";
import { Backend } from "../src/gen/webinfer/v1/execution_pb";
import { type Item, ItemSchema, type Partial$ as Partial } from "../src/gen/webinfer/v1/inference_pb";
import type { Clock } from "../src/clock";
import { Runner } from "../src/runner";
import type { Input, OpenTask, Output, Task } from "../src/tasks/task";

const { device, opened, release, task } = vi.hoisted(() => ({
  device: { now: "wasm" },
  opened: vi.fn(),
  release: vi.fn(),
  task: { batching: 3, warmUp: vi.fn(), read: vi.fn(), run: vi.fn() },
}));
vi.mock("../src/tasks/index", () => ({
  TASKS: {
    test: async (opening: unknown) => {
      opened("task", opening);
      return task satisfies Task;
    },
  },
}));
vi.mock("../src/session", () => ({
  openSession: async (opening: unknown) => {
    opened("session", opening);
    return { release };
  },
  startRuntime() {},
}));
vi.mock("../src/backend", () => ({
  configure() {},
  requireBackend: async () => device.now,
  noKernelsReason: async (backend: Backend) => (backend === Backend.WEBGPU ? "no timestamps" : ""),
  facts: async () => ({ backend: Backend.WASM, adapter: "", fallbackAdapter: false, threads: 1 }),
}));
vi.stubGlobal("TRANSFORMERS_VERSION", "1");
vi.stubGlobal("ONNXRUNTIME_VERSION", "2");

const load = create(LoadSchema, { base: "/models/m/", spec: { task: "test" } });
const none = async () => {};

beforeEach(() => {
  vi.resetAllMocks();
  task.read.mockImplementation(({ input }: Item) => input.value);
  // Each input's own words.
  task.run.mockImplementation(async (inputs: Input<string>[]): Promise<Settled<Output>[]> =>
    inputs.map(({ read }) => ({ case: "generated", value: { text: read } })),
  );
});

afterEach(() => vi.restoreAllMocks());

async function loaded(): Promise<{ runner: Runner; clock: Clock }> {
  device.now = "wasm";
  const runner = new Runner(() => {});
  await runner.load(load, () => {});
  const [, { clock }] = opened.mock.calls.at(-1) as [string, OpenTask];
  return { runner, clock };
}

type More = Pick<MessageInitShape<typeof RunItemSchema>, "parameters" | "steps">;

function items(texts: string[], more: More = {}) {
  return texts.map((value) => {
    const item = create(ItemSchema, { input: { case: "text", value } });
    return create(RunItemSchema, { item, ...more });
  });
}

async function run(runner: Runner, texts: string[], more?: More) {
  const told: Partial[] = [];
  const ran = await runner.run(runner.read(items(texts, more)), none, (partial) => told.push(partial));
  const outcomes = ran.outcomes.map(({ outcome: { case: kind, value } }) =>
    kind === "result" ? (value.output.value as { text: string }).text : value,
  );
  return { ran, told, outcomes };
}

test("a load tells what runs, and how the task makes batches", async () => {
  const runner = new Runner(() => {});
  await expect(runner.run(runner.read([]), none, () => {})).rejects.toThrow("no replica is loaded");
  expect(await runner.load(load, () => {})).toMatchObject({
    batching: Batching.STACKED,
    transformersVersion: "1",
    onnxruntimeVersion: "2",
  });
  expect(task.warmUp).toHaveBeenCalledOnce();
});

test("a batch gives one outcome for each item; one that cannot be read fails alone, and does not run", async () => {
  const { runner } = await loaded();
  task.read.mockImplementation(async ({ input }: Item) => {
    if (input.value === "bad") throw badInput("no text");
    if (input.value === "worse") throw new Error("not what it seems");
    return input.value;
  });
  task.run.mockImplementation(async (inputs: Input<string>[]) =>
    inputs.map(({ read }) => (read === "c" ? badInput("too long") : { case: "generated", value: { text: read } })),
  );
  const { outcomes } = await run(runner, ["a", "bad", "b", "worse", "c"]);
  const failed = (message: string) => expect.objectContaining({ kind: FailureKind.BAD_INPUT, message, fatal: false });
  expect(outcomes).toEqual(["a", failed("no text"), "b", failed("not what it seems"), failed("too long")]);
  expect(task.run.mock.calls[0]![0].map(({ read }: Input<string>) => read)).toEqual(["a", "b", "c"]);
});

test("a batch of which nothing can be read runs nothing", async () => {
  const { runner } = await loaded();
  task.read.mockImplementation(() => {
    throw badInput("no text");
  });
  const { outcomes } = await run(runner, ["a", "b"]);
  expect(outcomes).toHaveLength(2);
  expect(task.run).not.toHaveBeenCalled();
});

test("items are read before their turn, and a read that fails is nobody's unless it runs", async () => {
  const { runner } = await loaded();
  task.read.mockRejectedValue(badInput("no text"));
  const { inputs } = runner.read(items(["a"]));
  expect(task.read).toHaveBeenCalledOnce();
  // A promise that nobody awaits must not be one that is rejected.
  expect(await inputs[0]).toBeInstanceOf(Failure);
});

test("parameters come with their item, and are empty where there are none", async () => {
  const { runner } = await loaded();
  await run(runner, ["a"], { parameters: { topK: 3 } });
  await run(runner, ["b"]);
  const [with3, without] = task.run.mock.calls.map(([[input]]) => input.parameters);
  expect(with3.topK).toBe(3);
  expect(without).toMatchObject({ $typeName: "webinfer.v1.Parameters", candidateLabels: [] });
  expect(without.topK).toBeUndefined();
});

test("steps name their item by its place in the batch, and nobody tells where nobody listens", async () => {
  const { runner } = await loaded();
  task.read.mockImplementation(({ input }: Item) => {
    if (input.value === "bad") throw badInput("no text");
    return input.value;
  });
  task.run.mockImplementation(async (inputs: Input<string>[]) =>
    inputs.map(({ read, step }) => {
      step?.({ text: `${read}…` });
      return { case: "generated", value: { text: read } };
    }),
  );
  const { told } = await run(runner, ["bad", "a", "b"], { steps: true });
  expect(told).toMatchObject([
    { item: 1, text: "a…" },
    { item: 2, text: "b…" },
  ]);
  expect((await run(runner, ["a"])).told).toEqual([]);
  expect("step" in task.run.mock.calls.at(-1)![0][0]).toBe(false);
});

test("the times of a run are those of its sessions, and a pause is that of its call", async () => {
  const { runner, clock } = await loaded();
  const session = { run: async (_: object) => ({}) };
  clock.watch(session as never);
  const pause = vi.fn(none);
  task.run.mockImplementation(async () => {
    for (const size of [21, 14]) await session.run({ input_ids: { size, dims: [1, size] } });
    await clock.pause();
    return [{ case: "classes", value: {} }];
  });
  const ran = await runner.run(runner.read(items(["a"])), pause, () => {});
  expect(ran.tokens).toBe(35n);
  expect(pause).toHaveBeenCalledOnce();
});

test("what the runtime said comes before what the library made of it, and is forgotten with the call", async () => {
  const { runner, clock } = await loaded();
  const model = {
    sessions: { model: { run: vi.fn().mockRejectedValueOnce(new Error("ERROR_CODE: 6")).mockResolvedValue({}) } },
    forward: none,
  };
  clock.watchModel(model as never);
  clock.guard(model as never);
  task.run.mockImplementation(async (inputs: Input<string>[]) => {
    const { logits } = await model.sessions.model.run({});
    if (inputs[0]!.read === "a") return logits.data;
    return [{ case: "generated", value: { text: "b" } }];
  });
  await expect(run(runner, ["a"])).rejects.toThrow("ERROR_CODE: 6");
  task.run.mockRejectedValueOnce(new Failure(FailureKind.BAD_INPUT, "its own"));
  await expect(run(runner, ["a"])).rejects.toThrow("its own");
});

test("a warm-up that fails fails the load", async () => {
  const runner = new Runner(() => {});
  task.warmUp.mockRejectedValueOnce(new Error("no kernel"));
  await expect(runner.load(load, () => {})).rejects.toThrow("no kernel");
  await expect(runner.run(runner.read([]), none, () => {})).rejects.toThrow("no replica is loaded");
});

test("on WebGPU another session tells where the nodes are, once it is asked for", async () => {
  const severities = async (findPlacements: boolean) => {
    opened.mockClear();
    await new Runner(() => {}).load(create(LoadSchema, { ...load, findPlacements }), () => {});
    return opened.mock.calls.map(([what, { logSeverityLevel }]) => [what, logSeverityLevel]);
  };
  device.now = "wasm";
  expect(await severities(true)).toEqual([["task", 0]]);
  device.now = "webgpu";
  expect(await severities(false)).toEqual([["task", 3]]);
  expect(release).not.toHaveBeenCalled();
  expect(await severities(true)).toEqual([
    ["session", 0],
    ["task", 3],
  ]);
  expect(release).toHaveBeenCalledOnce();
});

test("a session that tells where the nodes are may fail, but for what is fatal", async () => {
  device.now = "webgpu";
  const loading = () => new Runner(() => {}).load(create(LoadSchema, { ...load, findPlacements: true }), () => {});
  release.mockRejectedValueOnce(new Error("no such session"));
  await expect(loading()).resolves.toMatchObject({ batching: Batching.STACKED });
  release.mockRejectedValueOnce(new WebAssembly.RuntimeError("unreachable"));
  await expect(loading()).rejects.toMatchObject({ fatal: true });
});

test("a profile is of the runs since the load, and says why it has no kernels", async () => {
  vi.spyOn(console, "log").mockImplementation(() => {});
  const runner = new Runner(() => {});
  const told = [
    "[",
    ...[10, 20, 30].map((ts) => `{"cat":"Session","name":"model_run","pid":42,"ts":${ts},"args":{}},`),
  ];
  const node = { cat: "Node", name: "x", pid: 42, ts: 31, dur: 4, args: { op_name: "Add", provider: "P" } };
  const session = {
    run: async (_: object) => ({}),
    endProfiling: () => [...told, JSON.stringify(node), "]"].forEach((line) => console.log(line)),
  };
  task.warmUp.mockImplementation(async () => {
    const [, { clock, enableProfiling }] = opened.mock.calls.at(-1) as [string, OpenTask];
    expect(enableProfiling).toBe(true);
    clock.watch(session as never);
    for (let run = 0; run < 2; run++) await session.run({});
  });
  task.run.mockImplementation(async () => {
    await session.run({});
    return [{ case: "classes", value: {} }];
  });
  const spec = { task: "test", backends: [Backend.WEBGPU] };
  await runner.load(create(LoadSchema, { base: "/models/m/", profile: true, spec }), () => {});
  await run(runner, ["a"]);
  const { profile } = await runner.endProfile(create(EndProfileSchema, { maxTraceBytes: 9000n }));
  expect(profile).toMatchObject({ operators: [{ name: "Add", totalUs: 4n }], noKernelsReason: "no timestamps" });
});

test("a replica that was not loaded for a profile has none", async () => {
  const { runner } = await loaded();
  await expect(runner.endProfile(create(EndProfileSchema))).rejects.toThrow("not loaded for a profile");
});
