/** Runner: what a task makes of a batch, as the frame that tells of it. */
import { create } from "@bufbuild/protobuf";
import { expect, test, vi } from "vitest";
import { badInput } from "../src/failure";
import { FailureKind, LoadSchema } from "../src/gen/webinfer/bridge/v1/bridge_pb";
import { Backend } from "../src/gen/webinfer/v1/execution_pb";
import { ItemResultSchema, ItemSchema } from "../src/gen/webinfer/v1/inference_pb";
import { Runner } from "../src/runner";
import type { Task } from "../src/tasks/task";

const { task } = vi.hoisted(() => ({
  task: { warmUp: vi.fn(), preprocess: vi.fn(), infer: vi.fn(), postprocess: vi.fn(), tokens: vi.fn() },
}));
vi.mock("../src/tasks/index", () => ({ TASKS: { test: async () => task satisfies Task } }));
vi.mock("../src/backend", () => ({
  configure() {},
  requireBackend: async () => "wasm",
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
