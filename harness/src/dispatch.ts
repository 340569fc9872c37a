/** Dispatch: routes the service's frames to the one replica, one call at a time. */
import {
  type Load,
  type Loaded,
  type LoadProgress,
  FailureKind,
  type Ran,
  type ServiceFrame,
} from "./gen/webinfer/bridge/v1/bridge_pb";
import type { Item } from "./gen/webinfer/v1/inference_pb";
import { Failure, failed } from "./failure";
import type { Body } from "./link";
import { turn } from "./turn";

/** What loads and runs; the real one is Runner. */
export interface Replica {
  load(load: Load, progress: (step: LoadProgress) => void): Promise<Loaded>;
  run(items: Item[]): Promise<Ran>;
}

interface Waiting {
  call: bigint;
  items: Item[];
}

export class Dispatch {
  readonly #replica: Replica;
  readonly #send: (call: bigint, body: Body) => void;
  /** Runs that have not begun, in their order. Its bound is the service's: it alone decides how many are in flight. */
  readonly #queue: Waiting[] = [];
  /**
   * A turn of the event loop after each run. On WASM a run holds the whole thread, so the frames that came meanwhile
   * are read only now; a Cancel among them has to be seen before the next run begins.
   */
  readonly #settle = turn(() => this.#settled());
  /** "settling" from the end of a run until its turn has come. */
  #state: "empty" | "loading" | "idle" | "running" | "settling" = "empty";

  constructor(replica: Replica, send: (call: bigint, body: Body) => void) {
    this.#replica = replica;
    this.#send = send;
  }

  onFrame({ call, body }: ServiceFrame): void {
    switch (body.case) {
      case "load":
        return void this.#load(call, body.value);
      case "run":
        return this.#enqueue(call, body.value.items);
      case "cancel":
        return this.#cancel(body.value.call);
    }
  }

  /** A worker loads once. Whatever fails in it leaves the realm unfit for another try. */
  async #load(call: bigint, load: Load): Promise<void> {
    if (this.#state !== "empty") return this.#fail(call, new Error("a worker loads only once"));
    this.#state = "loading";
    try {
      const progress = (value: LoadProgress) => this.#send(call, { case: "loadProgress", value });
      const value = await this.#replica.load(load, progress);
      this.#state = "idle";
      this.#send(call, { case: "loaded", value });
    } catch (error) {
      this.#send(call, { case: "failed", value: failed(error, true) });
    }
  }

  #enqueue(call: bigint, items: Item[]): void {
    const loaded = this.#state !== "empty" && this.#state !== "loading";
    if (!loaded) return this.#fail(call, new Error("no replica is loaded"));
    this.#queue.push({ call, items });
    if (this.#state === "idle") void this.#next();
  }

  #settled(): void {
    this.#state = "idle";
    void this.#next();
  }

  async #next(): Promise<void> {
    const next = this.#queue.shift();
    if (!next) return;
    this.#state = "running";
    try {
      const value = await this.#replica.run(next.items);
      this.#send(next.call, { case: "ran", value });
    } catch (error) {
      this.#fail(next.call, error);
    }
    this.#state = "settling";
    this.#settle();
  }

  #cancel(call: bigint): void {
    const index = this.#queue.findIndex((waiting) => waiting.call === call);
    if (index < 0) return;
    this.#queue.splice(index, 1);
    this.#fail(call, new Failure(FailureKind.CANCELLED, "the call was cancelled before it began"));
  }

  #fail(call: bigint, error: unknown): void {
    this.#send(call, { case: "failed", value: failed(error) });
  }
}
