/** Calls: deadlines, attempts and the end of a client, the same for all of its methods. */

import { ConnectError, type CallOptions } from "@connectrpc/connect";
import { Cancelled, Closed, DeadlineExceeded, fromCall, InvalidInput, WebinferError } from "./errors.js";

/** How a client calls. */
export interface Settings {
  /** Milliseconds for a call with all its attempts; each call can have its own. Default: 60,000. */
  timeoutMs?: number;
  /** The same for loads of models. Default: 600,000. */
  loadTimeoutMs?: number;
  /**
   * How often a call is tried that is refused with RESOURCE_EXHAUSTED or UNAVAILABLE. When, the service says. 1 for once.
   * Default: 5.
   */
  maxAttempts?: number;
  /** First and longest delay in milliseconds between attempts where the service names none. Default: 200 and 5,000. */
  backoffMs?: [number, number];
  /** Name by which the service shares its time. Default: none, so that each connection counts by itself. */
  clientName?: string;
  /** "low", "normal" or "high", of requests that name none. Default: "normal". */
  priority?: string;
}

/** What each call can be told. */
export interface Options {
  /** Aborts the call. */
  signal?: AbortSignal | undefined;
  /** Milliseconds in which the answer has to come. */
  timeoutMs?: number | undefined;
}

/** The header of a deadline has eight digits. */
const LONGEST_MS = 99_999_999;
const RETRIED = ["RESOURCE_EXHAUSTED", "UNAVAILABLE"];
const PUSHBACK = "grpc-retry-pushback-ms";

/** Makes the calls of one client. */
export class Calls {
  readonly settings: Required<Settings>;
  readonly #closed = new AbortController();

  constructor(settings: Settings) {
    const defaults = {
      timeoutMs: 60_000,
      loadTimeoutMs: 600_000,
      maxAttempts: 5,
      backoffMs: [200, 5000] as [number, number],
      clientName: "",
      priority: "normal",
    };
    const given = Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
    this.settings = { ...defaults, ...given };
    const { timeoutMs, loadTimeoutMs, maxAttempts, backoffMs, clientName } = this.settings;
    const [first, longest] = Array.isArray(backoffMs) ? backoffMs : [0, 0];
    for (const [holds, message] of [
      [isTime(timeoutMs) && isTime(loadTimeoutMs), "timeouts must be milliseconds, above 0"],
      [Number.isInteger(maxAttempts) && maxAttempts >= 1, "maxAttempts must be a whole number, 1 or more"],
      [
        isTime(first) && isTime(longest) && first <= longest,
        "backoffMs must be two times above 0, the first not above the second",
      ],
      [
        typeof clientName === "string" && /^[ -~]{0,128}$/.test(clientName),
        "clientName must be at most 128 printable ASCII characters",
      ],
    ] as const) {
      if (!holds) {
        throw new InvalidInput(message);
      }
    }
  }

  /** Ends all calls that run, and refuses further ones. */
  close(): void {
    this.#closed.abort();
  }

  /** The signal of a call: it is aborted by its caller, or with the client. */
  signal(own: AbortSignal | undefined): AbortSignal {
    if (own !== undefined && !(own instanceof AbortSignal)) {
      throw new InvalidInput("signal must be an AbortSignal");
    }
    if (this.#closed.signal.aborted) {
      throw new Closed();
    }
    return AbortSignal.any(own ? [own, this.#closed.signal] : [this.#closed.signal]);
  }

  /** What transports are told of a call. */
  options(signal: AbortSignal, timeoutMs?: number): CallOptions {
    const { clientName } = this.settings;
    return {
      signal,
      ...(timeoutMs === undefined ? {} : { timeoutMs: within(timeoutMs) }),
      ...(clientName ? { headers: { "webinfer-client": clientName } } : {}),
    };
  }

  /** What a call comes to: tried again while it is refused for now, until its deadline. */
  async attempt<T>(
    { signal: own, timeoutMs = this.settings.timeoutMs }: Options,
    call: (options: CallOptions) => Promise<T>,
  ): Promise<T> {
    const signal = this.signal(own);
    const end = performance.now() + within(timeoutMs);
    for (let attempt = 1; ; attempt++) {
      const left = end - performance.now();
      if (left <= 0) {
        throw new DeadlineExceeded("the deadline passed before an attempt succeeded", { code: "DEADLINE_EXCEEDED" });
      }
      try {
        // Whole milliseconds, as the header has them.
        return await call(this.options(signal, Math.ceil(left)));
      } catch (thrown) {
        const error = this.error(thrown);
        const delay = this.#delay(thrown, error, attempt);
        if (delay === undefined || performance.now() + delay >= end) {
          throw error;
        }
        await pause(delay, signal);
      }
    }
  }

  /** The error of a call. */
  error(thrown: unknown): WebinferError {
    if (this.#closed.signal.aborted && !(thrown instanceof Closed)) {
      return new Cancelled("the client was closed while the call ran", { code: "CANCELLED" }, { cause: thrown });
    }
    return fromCall(thrown);
  }

  /** What is waited for. Throws `Cancelled` where an abort comes before. */
  unlessAborted<T>(awaited: Promise<T>, signal: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      const aborted = () => reject(this.error(cancelled(signal)));
      if (signal.aborted) {
        aborted();
      } else {
        signal.addEventListener("abort", aborted, { once: true });
      }
      awaited.then(resolve, reject).finally(() => signal.removeEventListener("abort", aborted));
    });
  }

  /** Milliseconds before another attempt; undefined where there is none. */
  #delay(thrown: unknown, error: WebinferError, attempt: number): number | undefined {
    if (!RETRIED.includes(error.code) || error instanceof InvalidInput || attempt >= this.settings.maxAttempts) {
      return undefined;
    }
    const told = thrown instanceof ConnectError ? thrown.metadata.get(PUSHBACK) : null;
    if (told !== null) {
      const pushback = Number(told);
      return pushback >= 0 ? pushback : undefined;
    }
    return this.delay(error, attempt);
  }

  /** Milliseconds before the next attempt of a request that was refused `attempt` times. */
  delay(error: WebinferError, attempt: number): number {
    const [first, longest] = this.settings.backoffMs;
    // As gRPC does it: between none and all of the backoff (gRFC A6).
    return error.retryAfterMs ?? Math.random() * Math.min(first * 2 ** (attempt - 1), longest);
  }

  /** Whether a request that was refused `attempt` times on a stream is sent again. */
  isTriedAgain(error: WebinferError, attempt: number): boolean {
    return RETRIED.includes(error.code) && error.retryAfterMs !== undefined && attempt < this.settings.maxAttempts;
  }
}

/**
 * The messages of a call that streams. Connect keeps the timer of the call's deadline, and with it the program, until it is
 * asked for what comes after the last message, or after an abort: so whoever leaves before has to abort the call.
 */
export function messages<T>(call: CallOptions, answers: AsyncIterable<T>): AsyncIterableIterator<T> {
  const iterator = answers[Symbol.asyncIterator]();
  // How it ends after an abort. What was read already comes before that, and is dropped.
  let end: Promise<IteratorResult<T>> | undefined;
  const drop = async () => {
    for (;;) {
      const next = await iterator.next();
      if (next.done) {
        return next;
      }
    }
  };
  const aborted = () => {
    end = drop();
    end.catch(() => {});
  };
  call.signal?.addEventListener("abort", aborted, { once: true });
  return {
    async next() {
      let isOver = true;
      try {
        const next = await (end ?? iterator.next());
        isOver = !!next.done;
        return next;
      } finally {
        if (isOver) {
          // The client's own signal keeps all that listens, as long as the client lives.
          call.signal?.removeEventListener("abort", aborted);
        }
      }
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

function isTime(ms: unknown): boolean {
  return typeof ms === "number" && ms > 0;
}

/** The same time, or the longest that can be told. */
function within(timeoutMs: number): number {
  if (typeof timeoutMs !== "number" || Number.isNaN(timeoutMs)) {
    throw new InvalidInput(`timeoutMs must be a number, and not ${JSON.stringify(timeoutMs)}`);
  }
  return Math.min(timeoutMs, LONGEST_MS);
}

function cancelled(signal: AbortSignal): Cancelled {
  return new Cancelled("the call was aborted", { code: "CANCELLED" }, { cause: signal.reason });
}

/** Waits. Throws `Cancelled` where that is aborted. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const aborted = () => {
      clearTimeout(timer);
      reject(cancelled(signal));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", aborted);
      resolve();
    }, ms);
    if (signal.aborted) {
      aborted();
    } else {
      signal.addEventListener("abort", aborted, { once: true });
    }
  });
}
