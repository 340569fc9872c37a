/** Runner: what a task makes of a batch, as the frame that tells of it. */
import { create } from "@bufbuild/protobuf";
import { expect, test, vi } from "vitest";
import { badInput } from "../src/failure";
import { FailureKind, LoadSchema } from "../src/gen/webinfer/bridge/v1/bridge_pb";
import { Backend } from "../src/gen/webinfer/v1/execution_pb";
import { ItemResultSchema, ItemSchema } from "../src/gen/webinfer/v1/inference_pb";
import { Runner } from "../src/runner";
import type { Task } from "../src/tasks/task";

const { device, opened, release, task } = vi.hoisted(() => ({
  device: { now: "wasm" },
  opened: vi.fn(),
  release: vi.fn(),
  task: { warmUp: vi.fn(), preprocess: vi.fn(), infer: vi.fn(), postprocess: vi.fn(), tokens: vi.fn() },
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
}));
vi.mock("../src/backend", () => ({
  configure() {},
  requireBackend: async () => device.now,
  facts: async () => ({ backend: Backend.WASM, adapter: "", fallbackAdapter: false, threads: 1 }),
}));
vi.stubGlobal("TRANSFORMERS_VERSION", "1");
vi.stubGlobal("ONNXRUNTIME_VERSION", "2");

const load = create(LoadSchema, { base: "/models/m/", spec: { task: "test" } });

test("a batch gives one outcome for each item, and the tokens that ran", async () => {
  const runner = new Runner(() => {});
  await expect(runner.run([])).rejects.toThrow("no replica is loaded");
  expect(await runner.load(load, () => {})).toMatchObject({ transformersVersion: "1", onnxruntimeVersion: "2" });
  expect(task.warmUp).toHaveBeenCalledOnce();

  const result = create(ItemResultSchema, { output: { case: "tensors", value: {} } });
  task.preprocess.mockReturnValue("prepared");
  task.infer.mockResolvedValue("output");
  task.postprocess.mockReturnValue([result, badInput("no"), result]);
  task.tokens.mockReturnValue(42);
  const items = [create(ItemSchema)];
  const pause = async () => {};
  const ran = await runner.run(items, pause);
  expect(ran.outcomes.map(({ outcome }) => outcome)).toMatchObject([
    { case: "result", value: { output: { case: "tensors" } } },
    { case: "failed", value: { kind: FailureKind.BAD_INPUT, message: "no", fatal: false } },
    { case: "result" },
  ]);
  expect(ran.tokens).toBe(42n);
  expect(task.preprocess).toHaveBeenCalledWith(items);
  expect(task.infer).toHaveBeenCalledWith("prepared", pause);
  expect(task.postprocess).toHaveBeenCalledWith("output", "prepared");
});

test("a warm-up that fails fails the load", async () => {
  const runner = new Runner(() => {});
  task.warmUp.mockRejectedValueOnce(new Error("no kernel"));
  await expect(runner.load(load, () => {})).rejects.toThrow("no kernel");
  await expect(runner.run([])).rejects.toThrow("no replica is loaded");
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
