/** Clock: times and tokens of the runs, and what a session's failure becomes. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Clock } from "../src/clock";
import { FailureKind } from "../src/gen/webinfer/bridge/v1/bridge_pb";

let now = 0;
beforeEach(() => {
  now = 1000;
  vi.spyOn(performance, "now").mockImplementation(() => now);
});
afterEach(() => vi.restoreAllMocks());

/** A session whose runs take so long, and a model that runs it as the library's do. */
function watched(clock: Clock, run = async (_feed: object): Promise<object> => ({ logits: 1 })) {
  const session = {
    run: async (feed: object) => {
      now += 20;
      return run(feed);
    },
  };
  const model = {
    sessions: { decoder: session },
    forward: async (inputs: object): Promise<unknown> => {
      const outputs: { logits?: unknown } = await session.run(inputs);
      if (!outputs.logits) throw new TypeError("logits of undefined");
      return outputs;
    },
  };
  clock.watchModel(model as never);
  clock.guard(model as never);
  return model;
}

test("times are what comes before the first run, from there to the end of the last, and after", async () => {
  const clock = new Clock();
  const model = watched(clock);
  clock.start(7);
  now += 3;
  await model.forward({ input_ids: { size: 5, dims: [1, 5] } });
  now += 1;
  await model.forward({ inputs_embeds: { size: 99 } });
  await model.forward({ input_ids: { size: 1, dims: [1, 1] } });
  now += 4;
  expect(clock.elapsed()).toBe(7 + 3 + 61 + 4);
  expect(clock.stop()).toEqual({
    preprocess: 10,
    inference: 61,
    postprocess: 4,
    tokens: 6,
    padding: 0,
    replayed: [],
    placements: [],
  });
  // The next call's are its own.
  clock.start(0);
  now += 2;
  expect(clock.stop()).toEqual({
    preprocess: 2,
    inference: 0,
    postprocess: 0,
    tokens: 0,
    padding: 0,
    replayed: [],
    placements: [],
  });
});

test("tokens that the mask of a batch leaves out are padding", async () => {
  const clock = new Clock();
  const model = watched(clock);
  const tensor = (dims: number[], data: bigint[]) => ({
    dims,
    type: "int64",
    size: data.length,
    data: BigInt64Array.from(data),
  });
  const run = async (attention_mask: object) => {
    clock.start(0);
    await model.forward({ input_ids: tensor([2, 3], [1n, 2n, 3n, 1n, 0n, 0n]), attention_mask });
    return clock.stop().padding;
  };
  expect(await run(tensor([2, 3], [1n, 1n, 1n, 1n, 0n, 0n]))).toBe(2);
  expect(await run(tensor([2, 3], [1n, 1n, 1n, 1n, 1n, 1n]))).toBe(0);
  // The mask of a step of a generation covers what was there before, too.
  expect(await run(tensor([2, 4], [1n, 1n, 1n, 1n, 1n, 1n, 1n, 0n]))).toBe(0);
  clock.start(0);
  await model.forward({ input_ids: tensor([1, 2], [1n, 0n]), attention_mask: tensor([1, 2], [1n, 0n]) });
  expect(clock.stop()).toMatchObject({ tokens: 2, padding: 1 });
});

test("each session is known by its name, with how often it ran and when last", async () => {
  const clock = new Clock();
  const model = watched(clock);
  clock.watch({ run: async () => ({}) } as never);
  await model.forward({});
  now += 5;
  await model.forward({});
  expect(clock.watched).toMatchObject([
    { name: "decoder", runs: 2, begun: 1025 },
    { name: "model", runs: 0 },
  ]);
});

test("what is put around a run fails as the run itself, and does not reach the library's chain", async () => {
  const clock = new Clock();
  const error = new RangeError("Array buffer allocation failed");
  const session = { run: async (): Promise<object> => ({}) };
  const model = { sessions: { model: session }, forward: async () => ({}) };
  clock.watchModel(model as never);
  session.run = () => Promise.reject(error);
  clock.guard(model as never);
  clock.start(0);
  expect(await session.run()).toEqual({});
  expect(clock.failure).toEqual({ error });
  // Where the next run would be on the inputs of this one, there is none.
  session.run = () => Promise.reject(error);
  clock.guard(model as never, true);
  clock.start(0);
  await session.run();
  expect(clock.failure).toMatchObject({ error: { fatal: true, kind: FailureKind.OUT_OF_MEMORY } });
});

test("a session's failure is told in its own words, and the next call has none", async () => {
  const clock = new Clock();
  const error = new Error("ERROR_CODE: 2");
  const run = vi.fn(async (): Promise<object> => ({ logits: 1 })).mockRejectedValueOnce(error);
  const model = watched(clock, run);
  clock.start(0);
  await expect(model.forward({})).rejects.toThrow("logits of undefined");
  expect(clock.failure).toEqual({ error });
  clock.start(0);
  expect(clock.failure).toBeUndefined();
  await expect(model.forward({})).resolves.toEqual({ logits: 1 });
});

test("a session alone throws, so that its task can tell whom it concerns", async () => {
  const clock = new Clock();
  const session = { run: (_feed: object) => Promise.reject(new Error("no kernel")) };
  clock.watch(session as never);
  await expect(session.run({})).rejects.toThrow("no kernel");
  expect(clock.failure).toBeUndefined();
});

test("a call that is cancelled stops before the next step, and gives back what the steps handed on", async () => {
  const clock = new Clock();
  const run = vi.fn(async (): Promise<object> => ({ logits: 1 }));
  const model = watched(clock, run);
  const cancelled = new Error("cancelled");
  const pause = vi.fn<() => Promise<void>>().mockResolvedValueOnce().mockRejectedValueOnce(cancelled);
  const dispose = vi.fn(async () => {});
  clock.start(0, pause);
  await model.forward({ past_key_values: null });
  await expect(model.forward({ past_key_values: { dispose } })).rejects.toBe(cancelled);
  expect(run).toHaveBeenCalledOnce();
  expect(dispose).toHaveBeenCalledOnce();
});

test("what a generation that broke off has of the GPU's memory is given back once", async () => {
  const clock = new Clock();
  const tensor = (location: string) => ({ location, dispose: vi.fn() });
  const [past, present, gone, small] = [tensor("gpu-buffer"), tensor("gpu-buffer"), tensor("none"), tensor("cpu")];
  const model = watched(clock, async () => ({ logits: small, "present.0": present }));
  clock.start(0);
  await model.forward({ past_key_values: { "past.0": past, "past.1": gone, dispose: vi.fn() } });
  await clock.giveBack();
  await clock.giveBack();
  expect([past, present, gone, small].map(({ dispose }) => dispose.mock.calls.length)).toEqual([1, 1, 0, 0]);
});
