import "./runtime";
import * as ort from "onnxruntime-web/webgpu";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Captures } from "../src/capture";

type Feeds = Record<string, ort.Tensor>;
type RunOptions = { extra: { gpu_graph_id: string } };

const create = ort.InferenceSession.create;

beforeEach(() => {
  vi.stubGlobal("GPUBufferUsage", { STORAGE: 1, COPY_SRC: 2, COPY_DST: 4, MAP_READ: 8 });
  vi.stubGlobal("GPUMapMode", { READ: 1 });
  vi.spyOn(console, "warn").mockImplementation(() => {});
});
afterEach(() => {
  ort.InferenceSession.create = create;
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

/** A buffer of the GPU that lies in plain memory. */
class Buffer {
  readonly bytes: ArrayBuffer;
  constructor(readonly size: number) {
    this.bytes = new ArrayBuffer(size);
  }
  async mapAsync() {}
  getMappedRange = () => this.bytes;
  unmap() {}
  isDestroyed = false;
  destroy() {
    this.isDestroyed = true;
  }
}

type Filter = "out-of-memory" | "validation";

function fakeDevice() {
  const copy = (from: Buffer, at: number, to: Buffer, offset: number, size: number) =>
    new Uint8Array(to.bytes, offset, size).set(new Uint8Array(from.bytes, at, size));
  const buffers: Buffer[] = [];
  const listeners: ((event: { error: Error }) => void)[] = [];
  const scopes: { filter: Filter; error: Error | null }[] = [];
  const memory = { left: Infinity };
  const raise = (filter: Filter, message: string) => {
    const scope = scopes.findLast((scope) => scope.filter === filter);
    if (scope) scope.error ??= new Error(message);
    else listeners.forEach((listener) => listener({ error: new Error(message) }));
  };
  return {
    buffers,
    memory,
    pushErrorScope: (filter: Filter) => scopes.push({ filter, error: null }),
    popErrorScope: async () => scopes.pop()!.error,
    createBuffer: ({ size }: { size: number }) => {
      const buffer = new Buffer(size);
      buffers.push(buffer);
      memory.left -= size;
      if (memory.left < 0) {
        raise("out-of-memory", "not enough memory left");
        raise("validation", "invalid buffer");
      }
      return buffer;
    },
    createCommandEncoder: () => ({ copyBufferToBuffer: copy, finish: () => ({}) }),
    addEventListener: (_: string, listener: (event: { error: Error }) => void) => listeners.push(listener),
    refuse: (message: string) => raise("validation", message),
    queue: {
      submit() {},
      writeBuffer: (to: Buffer, at: number, data: Float32Array) =>
        new Uint8Array(to.bytes, at).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
    },
  };
}

interface Faults {
  refuses?: boolean;
  wrong?: boolean;
  stale?: boolean;
  /** The type of the output. */
  type?: "float32" | "float64";
  /** Bytes of a session for one shape. */
  weights?: number;
  /** Told of each run that may be recorded. */
  onRecord?: () => void;
}

/** A runtime of which a session doubles x; a recording of it goes on with the buffers that it was made with. */
function fakeRuntime({ refuses, wrong, stale, type = "float32", weights, onRecord }: Faults = {}) {
  const device = fakeDevice();
  vi.spyOn(ort.env, "webgpu", "get").mockReturnValue({ device: Promise.resolve(device) } as never);
  vi.stubGlobal("GPUOutOfMemoryError", class {});
  const ran: string[] = [];
  const sessions: object[] = [];
  const input = { isIgnored: false };
  ort.InferenceSession.create = (async (_: Uint8Array, options: ort.InferenceSession.SessionOptions) => {
    const captures = options.enableGraphCapture === true;
    void options.externalData;
    // The JavaScript of the runtime would keep to one shape.
    if (captures) expect(options.enableGraphCapture).toBe(false);
    const fixed = "rows" in (options.freeDimensionOverrides ?? {});
    sessions.push(options.freeDimensionOverrides ?? {});
    if (captures && refuses && !fixed)
      throw new Error("This session cannot use the graph capture feature as requested");
    if (fixed && weights) device.createBuffer({ size: weights });
    const recordings = new Map<string, [Buffer, Buffer]>();
    const double = (from: Buffer, to: Buffer) =>
      new Float32Array(to.bytes).set(new Float32Array(from.bytes).map((value) => 2 * value + (wrong ? 1 : 0)));
    const run = async (feeds: Feeds, fetches: Feeds, { extra: { gpu_graph_id: id } }: RunOptions) => {
      ran.push(id);
      if (id === "-1") {
        const { data, dims } = feeds.x!;
        const doubled = (data as Float32Array).map((value) => (input.isIgnored ? 0 : 2 * value));
        const values = type === "float64" ? Float64Array.from(doubled) : doubled;
        return { y: new ort.Tensor(type as "float32", values as Float32Array, dims) };
      }
      onRecord?.();
      const buffers = recordings.get(id) ?? [feeds.x!.gpuBuffer, fetches.y!.gpuBuffer];
      const isReplay = recordings.has(id);
      recordings.set(id, buffers as never);
      if (isReplay && stale) return fetches;
      double(...(buffers as unknown as [Buffer, Buffer]));
      return fetches;
    };
    const inputMetadata = [{ name: "x", isTensor: true, type: "float32", shape: ["rows", 2] }];
    return { run, release: vi.fn(async () => {}), inputMetadata, outputNames: ["y"] };
  }) as never;
  return { device, ran, sessions, input };
}

async function open(mostBytes = 1e6, faults: Faults = {}, options: ort.InferenceSession.SessionOptions = {}) {
  const runtime = fakeRuntime(faults);
  const replayed = vi.fn();
  const captures = new Captures(mostBytes, new Uint8Array(), replayed);
  captures.watch();
  const session = await ort.InferenceSession.create(new Uint8Array(), { executionProviders: ["webgpu"], ...options });
  const shaped = captures.of(session)!;
  const run = async (...values: number[]) => {
    const x = new ort.Tensor("float32", Float32Array.from(values), [values.length / 2, 2]);
    const { y } = await session.run({ x });
    return [...(y!.data as Float32Array)];
  };
  const hasRoom = (...dims: [number, number]) =>
    shaped.hasRoom({ x: new ort.Tensor("float32", new Float32Array(dims[0] * dims[1]), dims) });
  return { ...runtime, captures, session, run, replayed, hasRoom };
}

test("a shape is recorded when it comes again, and replayed from then on with what is new", async () => {
  const { run, ran, replayed } = await open();
  expect(await run(1, 2)).toEqual([2, 4]);
  expect(await run(3, 4)).toEqual([6, 8]);
  expect(ran).toEqual(["-1", "-1", "-1", "1", "1"]);
  expect(replayed).not.toHaveBeenCalled();
  expect(await run(5, 6)).toEqual([10, 12]);
  expect(ran.slice(5)).toEqual(["1"]);
  expect(replayed).toHaveBeenCalledWith([1, 2]);
});

test("shapes have recordings of their own in one session", async () => {
  const { run, ran, sessions } = await open();
  for (let time = 0; time < 3; time++) {
    expect(await run(1, 2)).toEqual([2, 4]);
    expect(await run(1, 2, 3, 4)).toEqual([2, 4, 6, 8]);
  }
  expect(ran.slice(-2)).toEqual(["1", "2"]);
  expect(sessions).toHaveLength(1);
});

test("answers that were given stay as they are when the next is replayed", async () => {
  const { session, run } = await open();
  await run(1, 2);
  await run(1, 2);
  const x = new ort.Tensor("float32", Float32Array.of(3, 4), [1, 2]);
  const { y } = await session.run({ x });
  await run(5, 6);
  expect([...(y!.data as Float32Array)]).toEqual([6, 8]);
});

test("an output that a replay leaves as it was is found out", async () => {
  const { run, ran } = await open(1e6, { stale: true });
  for (const x of [1, 2, 3, 4]) expect(await run(x, 7)).toEqual([2 * x, 14]);
  expect(ran.slice(-2)).toEqual(["-1", "-1"]);
});

test("inputs that read the same backwards are enough for a recording", async () => {
  const { run, ran } = await open();
  for (let time = 0; time < 3; time++) expect(await run(1, 1)).toEqual([2, 2]);
  expect(ran.at(-1)).toBe("1");
});

test("inputs that show nothing are not enough for a recording, and the next may be", async () => {
  const { run, ran, input } = await open();
  input.isIgnored = true;
  for (let time = 0; time < 3; time++) await run(1, 2);
  expect(new Set(ran)).toEqual(new Set(["-1"]));
  input.isIgnored = false;
  for (let time = 0; time < 2; time++) expect(await run(3, 4)).toEqual([6, 8]);
  expect(ran.at(-1)).toBe("1");
  expect(console.warn).not.toHaveBeenCalled();
});

test("a shape whose inputs show nothing three times is not recorded", async () => {
  const { run, ran, input, hasRoom } = await open();
  input.isIgnored = true;
  for (let time = 0; time < 4; time++) {
    expect(hasRoom(1, 2)).toBe(true);
    await run(1, 2);
  }
  expect(hasRoom(1, 2)).toBe(false);
  expect(console.warn).toHaveBeenCalledExactlyOnceWith(expect.stringContaining("y does not tell inputs apart"));
  input.isIgnored = false;
  await run(1, 2);
  expect(ran).toHaveLength(4 + 3 + 1);
});

test("what comes to no number does so in a replay as well", async () => {
  const { run, ran } = await open();
  for (let time = 0; time < 3; time++) expect(await run(NaN, 2)).toEqual([NaN, 4]);
  expect(ran.at(-1)).toBe("1");
});

test("what a replay gets wrong is not recorded", async () => {
  const { run, ran, hasRoom, device } = await open(1e6, { wrong: true });
  for (let time = 0; time < 4; time++) expect(await run(1, 2)).toEqual([2, 4]);
  expect(ran.slice(-2)).toEqual(["-1", "-1"]);
  expect(hasRoom(1, 2)).toBe(false);
  expect(console.warn).toHaveBeenCalledWith(expect.stringContaining("y comes to something else in a replay"));
  expect(device.buffers.map(({ isDestroyed }) => isDestroyed)).toEqual([true, true, true]);
});

test("a graph that cannot be recorded with open sizes gets a session for each shape", async () => {
  const { run, ran, sessions, captures } = await open(1e6, { refuses: true });
  for (let time = 0; time < 3; time++) expect(await run(1, 2)).toEqual([2, 4]);
  expect(ran.at(-1)).toBe("1");
  expect(sessions).toEqual([{}, {}, { rows: 1 }]);
  captures.settle();
  for (let time = 0; time < 3; time++) expect(await run(1, 2, 3, 4)).toEqual([2, 4, 6, 8]);
  expect(sessions).toHaveLength(3);
});

test("nothing is recorded beyond the memory that is given to it", async () => {
  const { run, ran } = await open(1);
  for (const x of [1, 2, 3]) await run(x, 7);
  for (const x of [1, 2, 3]) await run(x, 7, 8, 9);
  expect(ran).toEqual(["-1", "-1", "-1", "1", "1", "1", "-1", "-1", "-1"]);
});

test("a shape needs the more memory, the larger it is and the longer its rows are", async () => {
  // Input, output and what is read of it: 24 bytes for two numbers.
  const { run, hasRoom } = await open(100);
  expect(hasRoom(100, 2)).toBe(true);
  for (let time = 0; time < 2; time++) await run(1, 2);
  expect(hasRoom(3, 2)).toBe(true);
  expect(hasRoom(4, 2)).toBe(false);
  expect(hasRoom(1, 3)).toBe(true);
  expect(hasRoom(1, 4)).toBe(false);
});

test("the weights of a shape's own session are no larger for a larger shape", async () => {
  const { run, hasRoom } = await open(2100, { refuses: true, weights: 1000 });
  for (let time = 0; time < 2; time++) await run(1, 2);
  expect(hasRoom(2, 2)).toBe(true);
  expect(hasRoom(7, 2)).toBe(false);
});

test("a recording that the GPU has no memory for is left, and given back", async () => {
  const { run, ran, device, hasRoom } = await open();
  await run(1, 2);
  device.memory.left = 20;
  for (let time = 0; time < 3; time++) expect(await run(1, 2)).toEqual([2, 4]);
  expect(ran.slice(-2)).toEqual(["-1", "-1"]);
  expect(hasRoom(1, 2)).toBe(false);
  expect(console.warn).toHaveBeenCalledExactlyOnceWith(expect.stringContaining("no memory for them"));
  expect(device.buffers.map(({ isDestroyed }) => isDestroyed)).toEqual([true, true, true]);
});

test("what the GPU refuses for another reason while it records is the end of the worker", async () => {
  const onRecord = vi.fn();
  const { run, device } = await open(1e6, { onRecord });
  onRecord.mockImplementation(() => device.refuse("no such binding"));
  await run(1, 2);
  const message = "the GPU refused a command: no such binding";
  await expect(run(1, 2)).rejects.toMatchObject({ fatal: true, message });
});

test("what is fatal to the runtime is no shape that is not recorded", async () => {
  const onRecord = () => {
    throw new WebAssembly.RuntimeError("unreachable");
  };
  const { run, device } = await open(1e6, { onRecord });
  await run(1, 2);
  await expect(run(1, 2)).rejects.toMatchObject({ fatal: true });
  expect(console.warn).not.toHaveBeenCalled();
  expect(device.buffers.every(({ isDestroyed }) => isDestroyed)).toBe(true);
});

test("buffers of an output that the GPU does not take are given back", async () => {
  const { run, device } = await open(1e6, { type: "float64" });
  for (let time = 0; time < 2; time++) expect(await run(1, 2)).toEqual([2, 4]);
  expect(console.warn).toHaveBeenCalledExactlyOnceWith(expect.stringContaining("float64"));
  expect(device.buffers.map(({ isDestroyed }) => isDestroyed)).toEqual([true, true]);
});

test("sizes that are fixed already stay so", async () => {
  const { run, sessions } = await open(1e6, { refuses: true }, { freeDimensionOverrides: { channels: 3 } });
  for (let time = 0; time < 2; time++) await run(1, 2);
  expect(sessions).toEqual([{ channels: 3 }, { channels: 3 }, { channels: 3, rows: 1 }]);
});

test("sizes that the CPU reads are not recorded", async () => {
  const { session, ran } = await open();
  const x = new ort.Tensor("float32", Float32Array.of(1, 2), [2]);
  for (let time = 0; time < 3; time++) await session.run({ x });
  expect(ran).toEqual(["-1", "-1", "-1"]);
});

test("a command that the GPU refused is the end of the worker", async () => {
  const { run, device } = await open();
  await run(1, 2);
  device.refuse("no such buffer");
  await expect(run(1, 2)).rejects.toMatchObject({ fatal: true, message: "the GPU refused a command: no such buffer" });
});

test("what else goes wrong with a session is told as it is", async () => {
  fakeRuntime();
  ort.InferenceSession.create = (async () => {
    throw new Error("no such operator");
  }) as never;
  new Captures(1e6, new Uint8Array(), () => {}).watch();
  await expect(ort.InferenceSession.create(new Uint8Array(), {})).rejects.toThrow("no such operator");
});
