/** Profile: what the runtime's profiler writes of sessions, in its own form, and what is made of it. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Watched } from "../src/clock";
import { Profiler, readProfile } from "../src/profile";

const MOST = 1 << 20;
const WASM = { provider: "CPUExecutionProvider", output_type_shape: [{ float: [1, 8] }] };

let write: ReturnType<typeof vi.spyOn>;
let profiler: Profiler;
beforeEach(() => {
  write = vi.spyOn(console, "log").mockImplementation(() => {});
  profiler = readProfile();
});
afterEach(() => vi.restoreAllMocks());

function event(cat: string, name: string, ts: number, dur: number, args: object = {}): string {
  const pid = cat === "Api" ? -1 : 42;
  return JSON.stringify({ cat, pid, tid: pid, dur, ts, ph: "X", name, args });
}
const node = (op_name: string, ts: number, dur: number, more: object = WASM) =>
  event("Node", `node_${ts}_kernel_time`, ts, dur, { op_name, ...more });
const run = (ts: number, dur: number) => event("Session", "model_run", ts, dur);

/** A session whose profile is those events. */
function watched(events: string[], more: Partial<Watched> = {}): Watched {
  const endProfiling = () => {
    console.log("[");
    events.forEach((text, at) => console.log(at < events.length - 1 ? `${text},` : text));
    console.log("]");
  };
  return { name: "model", session: { endProfiling } as never, runs: 0, begun: 0, ...more };
}

interface Shown {
  name: string;
  pid: number;
  ts: number;
  args: { name: string };
}

function read(trace: Uint8Array): Shown[] {
  return JSON.parse(new TextDecoder().decode(trace));
}

test("operators are summed over the runs, and not over the warm-up", () => {
  const session = watched(
    [
      event("Session", "session_initialization", 5, 300),
      node("MatMul", 1000, 500),
      run(990, 600),
      node("MatMul", 2010, 30),
      node("Add", 2050, 7),
      run(2000, 60),
      node("MatMul", 3010, 20),
      run(3000, 60),
    ],
    { runs: 1 },
  );
  profiler.warmed([session]);
  session.runs = 3;
  const { operators, kernels, droppedEvents, trace } = profiler.end([session], MOST);
  expect(operators).toMatchObject([
    { name: "MatMul", provider: "CPUExecutionProvider", count: 2n, totalUs: 50n },
    { name: "Add", provider: "CPUExecutionProvider", count: 1n, totalUs: 7n },
  ]);
  expect(kernels).toEqual([]);
  expect(droppedEvents).toBe(0n);
  // The trace has all.
  expect(read(trace).filter(({ name }) => name === "model_run")).toHaveLength(3);
  expect(read(trace)[0]).toMatchObject({ ph: "M", name: "process_name", pid: 1, args: { name: "model" } });
});

test("kernels of the GPU are summed by program, and are a process of their own", () => {
  const webgpu = { provider: "WebGpuExecutionProvider" };
  const session = watched([
    run(1000, 100),
    node("MatMul", 1010, 3, webgpu),
    event("Api", "a&b/node_1&MatMul&MatMulPacked", 1040, 20),
    event("Api", "node_2&MatMul&MatMulPacked", 1060, 21),
    event("Api", "node_3&Softmax&Softmax", 1090, 60),
  ]);
  const { operators, kernels, trace } = profiler.end([session], MOST);
  expect(operators).toMatchObject([{ name: "MatMul", provider: "WebGpuExecutionProvider", totalUs: 3n }]);
  expect(kernels).toMatchObject([
    { program: "Softmax", operator: "Softmax", count: 1n, totalUs: 60n },
    { program: "MatMulPacked", operator: "MatMul", count: 2n, totalUs: 41n },
  ]);
  const processes = read(trace).filter(({ name }) => name === "process_name");
  expect(processes.map(({ pid, args }) => [pid, args.name])).toEqual([
    [1, "model"],
    [2, "model, on the GPU"],
  ]);
  expect(read(trace).filter(({ pid }) => pid === 2)).toHaveLength(4);
});

test("several sessions are shown on one line of time", () => {
  // Each counts from its own beginning; the clock of the worker tells when its last run began.
  const encoder = watched([run(100, 10), run(400, 10)], { name: "encoder", begun: 5 });
  const decoder = watched([run(50, 10)], { name: "decoder", begun: 6 });
  const idle = watched([event("Session", "session_initialization", 7, 1)], { name: "idle" });
  const { trace } = profiler.end([encoder, decoder, idle], MOST);
  const runs = read(trace).filter(({ name }) => name === "model_run");
  expect(runs.map(({ pid, ts }) => [pid, ts])).toEqual([
    [1, 4700],
    [1, 5000],
    [3, 6000],
  ]);
  expect(read(trace).find(({ name }) => name === "session_initialization")).toMatchObject({ pid: 5, ts: 7 });
});

test("a trace keeps within its bound, and has the runs before all else", () => {
  const session = watched([node("Warm", 10, 1), run(9, 5), node("Add", 21, 1), run(20, 5)], { runs: 1 });
  profiler.warmed([session]);
  const { trace, droppedEvents } = profiler.end([session], 500);
  expect(trace.length).toBeLessThanOrEqual(500);
  expect(read(trace).map(({ name }) => name)).toEqual(["process_name", "node_21_kernel_time", "model_run"]);
  expect(droppedEvents).toBe(2n);
});

test("a line that is no JSON is dropped, and one of somebody else's goes on to the console", () => {
  console.log("before", 1);
  const session = watched([run(1, 5), '{"cat" : "Node","name" :"a"b"}', node("Add", 2, 1)]);
  const { operators, droppedEvents } = profiler.end([session], MOST);
  expect(operators).toMatchObject([{ name: "Add" }]);
  expect(droppedEvents).toBe(1n);
  console.log("after");
  expect(write.mock.calls).toEqual([["before", 1], ["after"]]);
});

test("a runtime that tells nothing is an error", () => {
  const session = { ...watched([]), session: { endProfiling() {} } as never };
  expect(() => profiler.end([session], MOST)).toThrow("did not tell");
});

test("a time that a clock was set back in counts as none", () => {
  const session = watched([node("Add", 10, -20), node("Add", 20, 7), run(5, 30)]);
  profiler.warmed([session]);
  session.runs = 1;
  expect(profiler.end([session], MOST).operators).toMatchObject([{ name: "Add", count: 2n, totalUs: 7n }]);
});
