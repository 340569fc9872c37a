/** Dispatch: order, cancelling and failures, with a replica that runs when the test says so. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { afterEach, expect, test, vi } from "vitest";
import { Dispatch, type Replica, type Tell } from "../src/dispatch";
import { badInput } from "../src/failure";
import {
  FailureKind,
  LoadedSchema,
  LoadProgressSchema,
  ProfiledSchema,
  RanSchema,
  type RunItem,
  ServiceFrameSchema,
} from "../src/gen/webinfer/bridge/v1/bridge_pb";
import { PartialSchema } from "../src/gen/webinfer/v1/inference_pb";
import type { Body } from "../src/link";
import type { Pause } from "../src/turn";

/** Waits until what was set going has settled: promises, and a turn where one is due. */
const settled = () => new Promise((resolve) => setTimeout(resolve, 20));
/** Waits for promises alone, without a turn. */
const soon = async () => {
  for (let step = 0; step < 20; step++) await undefined;
};

afterEach(() => vi.restoreAllMocks());

/** Lets each look at the clock find it so much later. */
function hold(millis: number): void {
  let now = performance.now();
  vi.spyOn(performance, "now").mockImplementation(() => (now += millis));
}

class Bench {
  readonly sent: [number, Body][] = [];
  /** Items that were read, and those whose run has begun. */
  readonly read: string[] = [];
  readonly begun: string[] = [];
  finish: (error?: unknown) => void = () => {};
  /** Of the run that goes on. */
  pause: Pause = async () => {};
  tell: Tell = () => {};
  loadError: unknown;
  profileError: unknown;

  readonly #replica: Replica<string> = {
    load: async (_, progress) => {
      progress(create(LoadProgressSchema, { file: "config.json" }));
      if (this.loadError !== undefined) throw this.loadError;
      return create(LoadedSchema);
    },
    read: (items: RunItem[]) => {
      const text = String(items[0]?.item?.input.value);
      this.read.push(text);
      return text;
    },
    run: (text, pause, tell) =>
      new Promise((resolve, reject) => {
        this.pause = pause;
        this.tell = tell;
        this.begun.push(text);
        this.finish = (error) => (error === undefined ? resolve(create(RanSchema)) : reject(error));
      }),
    endProfile: async ({ maxTraceBytes }) => {
      if (this.profileError !== undefined) throw this.profileError;
      return create(ProfiledSchema, { profile: { droppedEvents: maxTraceBytes } });
    },
  };
  readonly #dispatch = new Dispatch(this.#replica, (call, body) => this.sent.push([Number(call), body]));

  say(call: number, body: MessageInitShape<typeof ServiceFrameSchema>["body"]): void {
    this.#dispatch.onFrame(create(ServiceFrameSchema, { call: BigInt(call), body: body! }));
  }

  run(call: number, text: string): void {
    this.say(call, { case: "run", value: { items: [{ item: { input: { case: "text", value: text } } }] } });
  }

  async loaded(): Promise<this> {
    this.say(1, { case: "load", value: {} });
    await settled();
    this.sent.length = 0;
    return this;
  }

  /** Calls and kinds of what was sent. */
  get answers(): [number, Body["case"]][] {
    return this.sent.map(([call, { case: kind }]) => [call, kind]);
  }

  failure(index: number) {
    const body = this.sent[index]?.[1];
    return body?.case === "failed" ? body.value : undefined;
  }
}

test("a load is answered after its progress", async () => {
  const bench = new Bench();
  bench.say(7, { case: "load", value: {} });
  await settled();
  expect(bench.answers).toEqual([
    [7, "loadProgress"],
    [7, "loaded"],
  ]);
});

test("a failed load is fatal, and no other follows", async () => {
  const bench = new Bench();
  bench.loadError = new Error("no such graph");
  bench.say(1, { case: "load", value: {} });
  await settled();
  expect(bench.failure(1)).toMatchObject({ fatal: true, message: "no such graph", kind: FailureKind.RUNTIME });
  bench.say(2, { case: "load", value: {} });
  expect(bench.failure(2)?.message).toBe("a worker loads only once");
});

test("a run before the load has ended fails", () => {
  const bench = new Bench();
  bench.run(1, "early");
  expect(bench.failure(0)?.message).toBe("no replica is loaded");
});

test("runs begin one at a time, in their order", async () => {
  const bench = await new Bench().loaded();
  for (const [call, text] of [
    [2, "a"],
    [3, "b"],
    [4, "c"],
  ] as const)
    bench.run(call, text);
  expect(bench.begun).toEqual(["a"]);
  for (const begun of [
    ["a", "b"],
    ["a", "b", "c"],
    ["a", "b", "c"],
  ]) {
    bench.finish();
    await settled();
    expect(bench.begun).toEqual(begun);
  }
  expect(bench.answers).toEqual([
    [2, "ran"],
    [3, "ran"],
    [4, "ran"],
  ]);
});

test("items are read as they come, beside the run that goes on", async () => {
  const bench = await new Bench().loaded();
  bench.run(2, "a");
  bench.run(3, "b");
  expect(bench.read).toEqual(["a", "b"]);
  expect(bench.begun).toEqual(["a"]);
});

test("steps go out under the number of their run", async () => {
  const bench = await new Bench().loaded();
  bench.run(7, "a");
  bench.tell(create(PartialSchema, { item: 1, text: "so far" }));
  bench.finish();
  await settled();
  expect(bench.answers).toEqual([
    [7, "step"],
    [7, "ran"],
  ]);
  expect(bench.sent[0]?.[1].value).toMatchObject({ partial: { item: 1, text: "so far" } });
});

test("a run that follows an ended one begins too", async () => {
  const bench = await new Bench().loaded();
  bench.run(2, "a");
  bench.finish();
  await settled();
  bench.run(3, "b");
  expect(bench.begun).toEqual(["a", "b"]);
});

test("a cancelled run that has not begun never runs, and is answered", async () => {
  const bench = await new Bench().loaded();
  for (const [call, text] of [
    [2, "a"],
    [3, "b"],
    [4, "c"],
  ] as const)
    bench.run(call, text);
  bench.say(0, { case: "cancel", value: { call: 3n } });
  expect(bench.sent[0]?.[0]).toBe(3);
  expect(bench.failure(0)).toMatchObject({ kind: FailureKind.CANCELLED, fatal: false });
  bench.finish();
  await settled();
  expect(bench.begun).toEqual(["a", "c"]);
});

test("a run that has begun stops at its next pause when it is cancelled", async () => {
  const bench = await new Bench().loaded();
  bench.run(2, "a");
  bench.run(3, "b");
  await bench.pause();
  bench.say(0, { case: "cancel", value: { call: 2n } });
  expect(bench.sent).toEqual([]);
  await bench.pause().catch(bench.finish);
  await settled();
  expect(bench.answers).toEqual([[2, "failed"]]);
  expect(bench.failure(0)).toMatchObject({ kind: FailureKind.CANCELLED, fatal: false });
  // It was for that call alone.
  expect(bench.begun).toEqual(["a", "b"]);
  await bench.pause();
});

test("cancelling a run that pauses no more, has ended, or is not known, does nothing", async () => {
  const bench = await new Bench().loaded();
  bench.run(2, "a");
  bench.say(0, { case: "cancel", value: { call: 2n } });
  bench.say(0, { case: "cancel", value: { call: 9n } });
  expect(bench.sent).toEqual([]);
  bench.finish();
  await settled();
  bench.say(0, { case: "cancel", value: { call: 2n } });
  expect(bench.answers).toEqual([[2, "ran"]]);
});

test("short runs follow each other without a turn", async () => {
  const bench = await new Bench().loaded();
  hold(0.01);
  bench.run(2, "a");
  bench.run(3, "b");
  bench.finish();
  await soon();
  expect(bench.begun).toEqual(["a", "b"]);
  bench.finish();
  await soon();
  bench.run(4, "c");
  expect(bench.begun).toEqual(["a", "b", "c"]);
});

test("after a long run a turn lets the cancels in, be it the last one", async () => {
  const bench = await new Bench().loaded();
  hold(100);
  bench.run(2, "a");
  bench.finish();
  await soon();
  bench.run(3, "b");
  expect(bench.begun).toEqual(["a"]);
  bench.say(0, { case: "cancel", value: { call: 3n } });
  await settled();
  expect(bench.begun).toEqual(["a"]);
  expect(bench.answers).toEqual([
    [2, "ran"],
    [3, "failed"],
  ]);
});

test("a pause takes a turn when the last is long ago", async () => {
  const bench = await new Bench().loaded();
  const paused = vi.fn();
  bench.run(2, "a");
  hold(0.01);
  void bench.pause().then(paused);
  await soon();
  expect(paused).toHaveBeenCalledOnce();
  hold(100);
  void bench.pause().then(paused);
  await soon();
  expect(paused).toHaveBeenCalledOnce();
  await settled();
  expect(paused).toHaveBeenCalledTimes(2);
});

test("a profile is told, or why there is none; the worker goes on", async () => {
  const bench = await new Bench().loaded();
  bench.say(2, { case: "endProfile", value: { maxTraceBytes: 9n } });
  await soon();
  bench.profileError = new Error("it was not loaded for that");
  bench.say(3, { case: "endProfile", value: {} });
  await soon();
  expect(bench.answers).toEqual([
    [2, "profiled"],
    [3, "failed"],
  ]);
  expect(bench.sent[0]![1].value).toMatchObject({ profile: { droppedEvents: 9n } });
  expect(bench.failure(1)).toMatchObject({ message: "it was not loaded for that", fatal: false });
});

test("a failed run leaves the next one to run", async () => {
  const bench = await new Bench().loaded();
  bench.run(2, "a");
  bench.run(3, "b");
  bench.finish(badInput("no"));
  await settled();
  expect(bench.failure(0)).toMatchObject({ kind: FailureKind.BAD_INPUT, message: "no", fatal: false });
  expect(bench.begun).toEqual(["a", "b"]);
});
