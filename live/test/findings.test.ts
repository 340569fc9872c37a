/** Findings: what is told of a pool, of models and of failures, and what is not. */
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { findings } from "../src/findings";
import { Backend, Hardware } from "../src/gen/webinfer/v1/execution_pb";
import { ModelState } from "../src/gen/webinfer/v1/model_pb";
import { BreakerState, BrowserState, FailedRequestSchema } from "../src/gen/webinfer/v1/pool_pb";
import { model, pool, second } from "./make";

const texts = (...args: Parameters<typeof findings>) => findings(...args).map(({ tone, text }) => `${tone}: ${text}`);

test("nothing is found where all is well", () => {
  expect(findings(pool(), [model("a")], [second(1, { model: "a", answered: 3, batches: 1 })], [])).toEqual([]);
});

test("a pool without a browser is broken, unless it sleeps or one is coming", () => {
  expect(texts(pool({ browsers: [] }), [], [], [])).toEqual(["bad: No browser serves"]);
  expect(texts(pool({ browsers: [], wantedBrowsers: 0 }), [], [], [])[0]).toMatch(/^info: The pool sleeps/);
  const starting = pool({ browsers: [{ id: "b", state: BrowserState.STARTING }] });
  expect(texts(starting, [], [], [])[0]).toMatch(/^warn: No browser serves yet/);
  const down = pool({ browsers: [{ id: "b", state: BrowserState.BACKING_OFF, reason: "it crashed" }] });
  expect(texts(down, [], [], [])).toContain("bad: b is down: it crashed");
});

test("models that failed, are placeholders or load are told, the worst first", () => {
  const models = [
    model("a", { state: ModelState.LOADING }),
    model("b", { state: ModelState.FAILED, error: "the model b could not be loaded: no file" }),
    model("c", { state: ModelState.SIMULATED, error: "no WebGPU" }),
  ];
  const found = texts(pool(), models, [], []);
  expect(found[0]).toBe("bad: the model b could not be loaded: no file");
  expect(found[1]).toMatch(/^bad: c is simulated/);
  expect(found[2]).toBe("info: a is being loaded");
});

test("what does not run as it was asked to is told once, however many replicas", () => {
  const worker = { model: "a", backend: Backend.WEBGPU, hardware: Hardware.SOFTWARE_ADAPTER, adapter: "SwiftShader" };
  const browsers = [{ id: "b", state: BrowserState.READY, workers: [worker, worker] }];
  expect(texts(pool({ browsers }), [model("a")], [], [])).toEqual([
    "warn: a runs on a software adapter (SwiftShader), not on a GPU",
    "warn: a was to run on wasm, and runs on webgpu",
  ]);
});

test("breakers and failures of the last minute are told, older ones are not", () => {
  const breakers = [
    { browser: "Firefox", backend: Backend.WEBGPU, model: "a", state: BreakerState.OPEN, retryAfterMs: 9000n },
  ];
  const seconds = [second(100, { model: "a", failed: 70 }), second(101, { model: "a", failed: 2 })];
  const failed = [
    { timeMs: 1_000n, model: "old", reason: "OVERLOADED" },
    { timeMs: 100_500n, model: "a", reason: "OVERLOADED" },
    { timeMs: 100_700n, model: "", reason: "MODEL_NOT_FOUND" },
  ].map((init) => create(FailedRequestSchema, init));
  const found = texts(pool({ breakers }), [], seconds, failed);
  expect(found).toContain("bad: 72 requests of a failed in the last minute: OVERLOADED");
  expect(found).toContain("bad: 1 request of unknown models failed in the last minute: MODEL_NOT_FOUND");
  expect(found.filter((text) => text.includes("old"))).toEqual([]);
  expect(found.at(-1)).toMatch(/^warn: a keeps failing to load on webgpu in Firefox.*next try in 9 s/);
});

test("long waits are told where they are most of the time", () => {
  const slow = { queueUs: 800_000n, inferenceUs: 100_000n };
  const fast = { queueUs: 1000n, inferenceUs: 100n };
  const at = (timings: typeof slow) => [second(1, { model: "a", batches: 1, timings, queueItems: 7 })];
  expect(texts(pool(), [model("a")], at(slow), [])[0]).toMatch(/^warn: a waits for workers: 800 ms .* 7 items queued/);
  expect(texts(pool(), [model("a")], at(fast), [])).toEqual([]);
});
