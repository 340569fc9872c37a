// Streams of both clients, that for pages over the `fetch` of Node.

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Cancelled, Client, DeadlineExceeded, WebinferError, type Request } from "../src/node.js";
import { Client as WebClient } from "../src/web.js";
import { Event, Fake } from "./fake.js";

let fake: Fake;
let address: string;

async function start(http1: boolean): Promise<void> {
  fake = new Fake();
  fake.http1 = http1;
  address = await fake.start();
}

async function collect<T>(values: AsyncIterable<T>): Promise<T[]> {
  const all = [];
  for await (const value of values) {
    all.push(value);
  }
  return all;
}

/** Gives one value, and then waits for another that never comes. */
function endless<T>(value: T) {
  const waits = new Event();
  const values = (async function* () {
    yield value;
    waits.set();
    await new Promise(() => {});
  })();
  return { values, waits: waits.happened };
}

const request: Request = { model: "m", inputs: "x" };

describe.each([
  ["Node", false],
  ["pages", true],
])("the client for %s", (_, http1) => {
  let client: Client | WebClient;

  beforeEach(async () => {
    await start(http1);
    client = http1 ? new WebClient(`http://${address}`) : new Client(address);
  });

  afterEach(async () => {
    client.close();
    await fake.stop();
  });

  test("leaving a stream does not wait for the next request", async () => {
    const { values, waits } = endless(request);
    for await (const one of client.stream(values)) {
      expect(one.error).toBeUndefined();
      await waits;
      break;
    }
  });

  test("leaving map does not wait for the next input, and tells its source at once", async () => {
    let given = 0;
    let returned = 0;
    const waits = new Event();
    const inputs: AsyncIterableIterator<string> = {
      next: async () => {
        if (given++) {
          waits.set();
          await new Promise(() => {});
        }
        return { value: "x" };
      },
      return: async () => ({ done: true, value: returned++ }),
      [Symbol.asyncIterator]: () => inputs,
    };
    for await (const result of client.map("m", inputs)) {
      expect(result.embedding[0]).toBe(1);
      await waits.happened;
      break;
    }
    expect(returned).toBe(1);
  });

  test.each(["an abort", "closing the client"])("%s ends a stream that waits for the next request", async (how) => {
    const abort = new AbortController();
    const { values, waits } = endless(request);
    const stream = client.stream(values, { signal: abort.signal });
    await stream.next();
    const next = stream.next();
    await waits;
    if (how === "an abort") {
      abort.abort();
    } else {
      client.close();
    }
    await expect(next).rejects.toThrow(Cancelled);
  });

  test("what leaving a source throws is the caller's, where it does not wait", async () => {
    function* requests(): Generator<Request> {
      try {
        yield request;
        yield request;
      } finally {
        throw new RangeError("mine");
      }
    }
    const stream = client.stream(requests(), { inFlight: 1 });
    await stream.next();
    await expect(stream.return()).rejects.toThrow("mine");
  });

  test("what `onPartial` throws ends the stream, and is the caller's", async () => {
    const mine = new TypeError("mine");
    let told = 0;
    const onPartial = () => {
      told++;
      throw mine;
    };
    await expect(collect(client.stream([{ ...request, onPartial }]))).rejects.toBe(mine);
    expect(told).toBe(1);
  });
});

describe("in Node", () => {
  beforeEach(() => start(false));
  afterEach(() => fake.stop());

  test("a service that goes ends a stream that waits for the next request", async () => {
    using client = new Client(address);
    const { values, waits } = endless(request);
    const stream = client.stream(values);
    await stream.next();
    const next = stream.next();
    await waits;
    await fake.stop();
    await expect(next).rejects.toThrow(WebinferError);
  });

  test("a deadline ends a stream that waits for its first request", async () => {
    using client = new Client(address);
    const { values } = endless(request);
    await values.next();
    await expect(collect(client.stream(values, { timeoutMs: 50 }))).rejects.toThrow(DeadlineExceeded);
  });
});
