// The client for Node against a service that does as a test says.

import { Code, createClient } from "@connectrpc/connect";
import { getEventListeners } from "node:events";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Priority, PoolService } from "../src/v1.js";
import {
  Cancelled,
  Client,
  Closed,
  DeadlineExceeded,
  InvalidInput,
  NotFound,
  Overloaded,
  Unavailable,
  WebinferError,
  type NodeSettings,
  type Request,
} from "../src/node.js";
import { answer, Fake, refusal } from "./fake.js";

let fake: Fake;
let address: string;
let client: Client;

beforeEach(async () => {
  fake = new Fake();
  address = await fake.start();
  client = new Client(address, { backoffMs: [1, 20] });
});

afterEach(async () => {
  client.close();
  await fake.stop();
});

async function collect<T>(values: AsyncIterable<T>): Promise<T[]> {
  const all = [];
  for await (const value of values) {
    all.push(value);
  }
  return all;
}

test("it says who it is and how urgent it is", async () => {
  using named = new Client(address, { clientName: "me", priority: "low" });
  await named.infer("m", "x");
  await named.infer("m", "x", { priority: "high" });
  expect(fake.heads[0]!.get("webinfer-client")).toBe("me");
  expect(fake.calls.map((call) => call.priority)).toEqual([Priority.LOW, Priority.HIGH]);
});

test.each([
  [{ timeoutMs: 0 }],
  [{ maxAttempts: 0 }],
  [{ maxAttempts: 1.5 }],
  [{ backoffMs: [2, 1] }],
  [{ priority: "urgent" }],
  [{ maxMessageBytes: 0 }],
  [{ maxMessageBytes: 2 ** 40 }],
  [{ timeoutMs: "5" }],
  [{ backoffMs: 5 }],
  [{ clientName: "two\nlines" }],
] as unknown as [NodeSettings][])("settings are checked: %j", (settings) => {
  expect(() => new Client("localhost:1", settings)).toThrow(InvalidInput);
});

test.each(["::not an address::", "ftp://localhost:1", "", 5, null])("%j is no address", (address) => {
  expect(() => new Client(address as string)).toThrow(InvalidInput);
});

test("a time without end is one that a timer takes", async () => {
  using patient = new Client(address, { timeoutMs: Infinity });
  await patient.infer("m", "x");
  await client.infer("m", "x", { timeoutMs: 1e12 });
  await expect(client.infer("m", "x", { timeoutMs: NaN })).rejects.toThrow(InvalidInput);
});

test.each([
  [{ top_k: 3 }],
  [{ topK: -1 }],
  [{ topK: "x" }],
  ["topK"],
  [{ threshold: "x" }],
  [{ generation: { max_new_tokens: 5 } }],
  [{ generation: { temprature: 1 } }],
  [{ generation: 5 }],
  [{ voice: { speaker: { dims: [1] } } }],
])("parameters that cannot be sent are refused: %j", async (parameters) => {
  await expect(client.infer("m", "x", { parameters } as never)).rejects.toThrow(InvalidInput);
  expect(fake.calls).toHaveLength(0);
});

test("parameters below others are sent", async () => {
  await client.infer("m", "x", { parameters: { generation: { maxNewTokens: 5 }, voice: undefined } });
  expect(fake.calls[0]!.parameters?.generation?.maxNewTokens).toBe(5);
});

test.each([[{ max_error: 0.1 }], [{ normalise: false }], [{ probes: [{ itm: {} }] }]])(
  "a registration has no other fields than the message: %j",
  async (other) => {
    const register = (spec: object) => client.models.register({ id: "m", ...spec }).catch((thrown: unknown) => thrown);
    expect(await register(other)).toBeInstanceOf(InvalidInput);
    // This one comes as far as the service, which knows of no registrations.
    expect(await register({ maxError: 0.1, dtypes: { model: "q8" } })).toMatchObject({ code: "UNIMPLEMENTED" });
  },
);

test("no call leaves a timer behind, which would keep the program alive", async () => {
  // Timers of other makes, such as the transport's, are there before as well.
  const long = { timeoutMs: 3_456_789 };
  const set = vi.spyOn(globalThis, "setTimeout");
  const cleared = vi.spyOn(globalThis, "clearTimeout");
  await client.models.load("m", long);
  await expect(client.models.load("m", { ...long, progress: () => expect.unreachable() })).rejects.toThrow();
  await client.generate("m", "x", long).response();
  for await (const _ of client.generate("m", "x", long)) {
    break;
  }
  client.generate("m", "x", long).cancel();
  for await (const _ of client.map("m", ["a", "b"], long)) {
    break;
  }
  await client.infer("m", "x", long);
  const left = () =>
    set.mock.results
      .filter((_, at) => (set.mock.calls[at]![1] ?? 0) > 3e6)
      .filter(({ value }) => !cleared.mock.calls.some(([timer]) => timer === value));
  await vi.waitFor(() => expect(left()).toEqual([]));
  expect(set.mock.calls.filter(([, ms]) => (ms ?? 0) > 3e6).length).toBeGreaterThan(5);
  vi.restoreAllMocks();
});

test("no call that has ended leaves a listener behind, which would keep it in memory", async () => {
  const made = vi.spyOn(AbortSignal, "any");
  await client.infer("m", "x");
  await client.generate("m", "x").response();
  fake.refusesGenerate = true;
  await expect(client.generate("m", "x").response()).rejects.toThrow(Overloaded);
  await client.models.load("m");
  await collect(client.map("m", ["a", "b"]));
  const left = made.mock.results.flatMap(({ value }) => getEventListeners(value as AbortSignal, "abort"));
  expect(left).toEqual([]);
  expect(made.mock.results.length).toBeGreaterThan(4);
  made.mockRestore();
});

test("what a load's progress throws ends it, and is the caller's", async () => {
  const mine = new TypeError("mine");
  let told = 0;
  const progress = () => {
    told++;
    throw mine;
  };
  await expect(client.models.load("m", { progress })).rejects.toBe(mine);
  expect([told, fake.loads]).toEqual([1, 1]);
});

test("what is no stream of requests is refused", async () => {
  await expect(collect(client.stream(null as never))).rejects.toThrow(InvalidInput);
});

test("answers have their results and the record of what ran", async () => {
  const { only, message } = await client.infer("m", "x", { parameters: { topK: 3 } });
  expect(only.embedding).toEqual(Float32Array.of(1));
  expect(only.execution).toMatchObject({ browser: "Fake", backendUsed: "unspecified", timings: { queueUs: 7 } });
  expect(() => only.text).toThrow(TypeError);
  expect(message.results).toHaveLength(1);
  expect(fake.calls[0]!.parameters?.topK).toBe(3);
  expect(await client.embed("m", ["x"])).toEqual([Float32Array.of(1)]);
});

test("a refused call is tried again when the service says", async () => {
  let left = 2;
  fake.infer = () => {
    if (left-- > 0) {
      throw refusal(1);
    }
    return answer(7);
  };
  expect((await client.infer("m", "x")).only.embedding[0]).toBe(7);
  expect(fake.calls).toHaveLength(3);
});

test("what stays refused says when to come back", async () => {
  fake.infer = () => {
    throw refusal(1, 250);
  };
  const error = await client.infer("m", "x").catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(Overloaded);
  expect(error).toMatchObject({ code: "RESOURCE_EXHAUSTED", reason: "OVERLOADED", retryAfterMs: 250 });
  expect(fake.calls).toHaveLength(5);
});

test("a negative pushback means never", async () => {
  fake.infer = () => {
    throw refusal(-1);
  };
  await expect(client.infer("m", "x")).rejects.toThrow(Overloaded);
  expect(fake.calls).toHaveLength(1);
});

test("one attempt is one attempt", async () => {
  fake.infer = () => {
    throw refusal(1);
  };
  using once = new Client(address, { maxAttempts: 1 });
  await expect(once.infer("m", "x")).rejects.toThrow(Overloaded);
  expect(fake.calls).toHaveLength(1);
});

test("no attempt begins that the deadline would end", async () => {
  fake.infer = () => {
    throw refusal(60_000);
  };
  await expect(client.infer("m", "x", { timeoutMs: 1000 })).rejects.toThrow(Overloaded);
  expect(fake.calls).toHaveLength(1);
});

test("other errors are not tried again, and have their kind", async () => {
  for (const [code, kind, name] of [
    [Code.NotFound, NotFound, "NOT_FOUND"],
    [Code.InvalidArgument, InvalidInput, "INVALID_ARGUMENT"],
    [Code.OutOfRange, InvalidInput, "OUT_OF_RANGE"],
    [Code.FailedPrecondition, WebinferError, "FAILED_PRECONDITION"],
  ] as const) {
    const before = fake.calls.length;
    fake.infer = () => {
      throw refusal(undefined, 1, code);
    };
    const error = await client.infer("m", "x").catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(kind);
    expect(error).toMatchObject({ code: name });
    expect(fake.calls.length - before).toBe(1);
  }
});

test("an answer that does not come in time", async () => {
  fake.infer = (_, context) => fake.hold(context);
  await expect(client.infer("m", "x", { timeoutMs: 50 })).rejects.toThrow(DeadlineExceeded);
  await fake.cancelled.happened;
});

test("aborting a signal cancels the call", async () => {
  fake.infer = (_, context) => fake.hold(context);
  const abort = new AbortController();
  const call = client.infer("m", "x", { signal: abort.signal });
  await fake.called.happened;
  abort.abort();
  await expect(call).rejects.toThrow(Cancelled);
  await fake.cancelled.happened;
  await expect(client.infer("m", "x", { signal: AbortSignal.abort() })).rejects.toThrow(Cancelled);
});

test("aborting ends the wait for the next attempt", async () => {
  fake.infer = () => {
    throw refusal(30_000);
  };
  const abort = new AbortController();
  const call = client.infer("m", "x", { signal: abort.signal });
  await fake.called.happened;
  abort.abort();
  await expect(call).rejects.toThrow(Cancelled);
});

test("a closed client says so, and ends calls that run", async () => {
  fake.infer = (_, context) => fake.hold(context);
  const call = client.infer("m", "x");
  await fake.called.happened;
  client.close();
  client.close();
  await expect(call).rejects.toThrow(Cancelled);
  await expect(client.infer("m", "x")).rejects.toThrow(Closed);
  await expect(client.models.list()).rejects.toThrow(Closed);
  await expect(collect(client.stream([{ model: "m", inputs: "x" }]))).rejects.toThrow(Closed);
  await expect(client.generate("m", "x").response()).rejects.toThrow(Closed);
});

test("a service that is not there comes back and goes away", async () => {
  const port = Number(address.split(":")[1]);
  await fake.stop();
  await expect(client.infer("m", "x")).rejects.toThrow(/webinfer serve/);
  for (let round = 0; round < 2; round++) {
    await fake.start(port);
    await client.infer("m", "x");
    await fake.stop();
    await expect(client.infer("m", "x")).rejects.toThrow(Unavailable);
  }
});

test.each(["end", "resetAndDestroy"] as const)("a call whose connection is lost by %s runs again", async (how) => {
  fake.infer = (_, context) => {
    if (fake.calls.length > 1) {
      return answer(1);
    }
    setImmediate(() => fake.hangUp(how));
    return fake.hold(context);
  };
  expect((await client.infer("m", "x")).only.embedding[0]).toBe(1);
  expect(fake.calls).toHaveLength(2);
});

test("a message over a limit is refused, and nothing else", async () => {
  await expect(client.infer("m", "x".repeat(2 << 20))).rejects.toThrow(InvalidInput);
  await client.infer("m", "x");
  using small = new Client(address, { maxMessageBytes: 100 });
  await expect(small.infer("m", "x".repeat(200))).rejects.toThrow(InvalidInput);
  fake.infer = () => answer(...Array.from({ length: 100 }, (_, at) => at));
  await expect(small.infer("m", "x")).rejects.toThrow(InvalidInput);
});

test("a generation tells its steps and its answer", async () => {
  const generation = client.generate("m", "x");
  const texts = (await collect(generation)).map((partial) => partial.text);
  expect(texts).toEqual(["so ", "far"]);
  expect((await generation.response()).only.embedding[0]).toBe(1);
  expect((await client.generate("m", "x").response()).results).toHaveLength(1);
});

test("leaving a generation stops it", async () => {
  fake.infer = (_, context) => fake.hold(context);
  for await (const partial of client.generate("m", "x")) {
    expect(partial.text).toBe("so ");
    break;
  }
  await fake.cancelled.happened;
  const cancelled = client.generate("m", "x");
  await cancelled.next();
  cancelled.cancel();
  await expect(cancelled.response()).rejects.toThrow(Cancelled);
});

test("a refused generation is tried again before it has begun", async () => {
  fake.refusesGenerate = true;
  await expect(client.generate("m", "x").response()).rejects.toThrow(Overloaded);
  expect(fake.calls).toHaveLength(5);
});

test("a stream answers all and holds back what is too much", async () => {
  let taken = 0;
  let answered = 0;
  function* requests(): Generator<Request> {
    for (; taken < 50; taken++) {
      yield { model: "m", inputs: `${taken}` };
    }
  }
  for await (const one of client.stream(requests(), { inFlight: 4 })) {
    expect(one.index).toBe(answered++);
    expect(one.request.inputs).toBe(`${one.index}`);
    expect(taken - answered).toBeLessThan(5);
  }
  expect(answered).toBe(50);
  expect(await collect(client.stream([]))).toEqual([]);
});

test("a stream sends again what was refused for now", async () => {
  const refused = new Set<string>();
  fake.onStream = ({ request }) => {
    const text = `${request!.items[0]!.input.value}`;
    if (text === "never" || !refused.has(text)) {
      refused.add(text);
      return new Error();
    }
    return answer(5);
  };
  const requests = ["a", "never", "b"].map((inputs) => ({ model: "m", inputs }));
  const answers = await collect(client.stream(requests));
  const by = Object.fromEntries(answers.map((one) => [one.request.inputs, one]));
  expect(by["a"]!.result().only.embedding[0]).toBe(5);
  expect(by["never"]!.error).toBeInstanceOf(Overloaded);
  expect(() => by["never"]!.result()).toThrow(Overloaded);
  expect(fake.calls).toHaveLength(2 + 2 + 5);
});

test("an error of the requests ends the stream and is the caller's", async () => {
  async function* requests(): AsyncGenerator<Request> {
    yield { model: "m", inputs: "x" };
    throw new RangeError("mine");
  }
  await expect(collect(client.stream(requests(), { inFlight: 1 }))).rejects.toThrow("mine");
  await fake.cancelled.happened;
});

test("leaving a stream cancels it, and closes the requests", async () => {
  let closed = false;
  function* requests(): Generator<Request> {
    try {
      for (;;) {
        yield { model: "m", inputs: "x" };
      }
    } finally {
      closed = true;
    }
  }
  for await (const one of client.stream(requests())) {
    expect(one.index).toBe(0);
    break;
  }
  await fake.cancelled.happened;
  expect(closed).toBe(true);
});

test("a stream that the service ends is an error", async () => {
  fake.onStream = () => undefined;
  await expect(collect(client.stream([{ model: "m", inputs: "x" }]))).rejects.toThrow(Unavailable);
});

test("map keeps the order and throws the first error", async () => {
  fake.onStream = ({ request }) => answer(Number(request!.items[0]!.input.value));
  const inputs = Array.from({ length: 100 }, (_, at) => `${at}`);
  const results = await collect(client.map("m", inputs, { inFlight: 8 }));
  expect(results.map((result) => result.embedding[0])).toEqual(inputs.map(Number));
  fake.onStream = () => new Error();
  await expect(collect(client.map("m", ["x"]))).rejects.toThrow(Overloaded);
});

test("the transport is for other clients", async () => {
  const pool = createClient(PoolService, client.transport);
  await expect(pool.get({})).rejects.toThrow();
});
