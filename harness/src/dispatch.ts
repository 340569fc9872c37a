/** Dispatch: routes the service's frames to the one replica, one call at a time. */
import { create } from "@bufbuild/protobuf";
import {
  type EndProfile,
  type Load,
  type Loaded,
  type LoadProgress,
  FailureKind,
  type Profiled,
  type Ran,
  type RunItem,
  type ServiceFrame,
  StepSchema,
} from "./gen/webinfer/bridge/v1/bridge_pb";
import type { Partial$ as Partial } from "./gen/webinfer/v1/inference_pb";
import { Failure, failed } from "./failure";
import type { Body } from "./link";
import { type Pause, Turns } from "./turn";

/** Tells what an item of the call has come to. */
export type Tell = (partial: Partial) => void;

/** What loads and runs; the real one is Runner. */
export interface Replica<Reading> {
  load(load: Load, progress: (step: LoadProgress) => void): Promise<Loaded>;
  /** Begins to read the items of a call, beside the one that runs. */
  read(items: RunItem[]): Reading;
  run(reading: Reading, pause: Pause, tell: Tell): Promise<Ran>;
  /** Tells where the time of its runs went, if it was loaded for that. */
  endProfile(end: EndProfile): Promise<Profiled>;
}

interface Call<Reading> {
  number: bigint;
  reading: Reading;
  cancelled: boolean;
}

export class Dispatch<Reading> {
  readonly #replica: Replica<Reading>;
  readonly #send: (call: bigint, body: Body) => void;
  /** Calls that have not begun, in their order. Its bound is the service's: it alone decides how many are in flight. */
  readonly #queue: Call<Reading>[] = [];
  #running: Call<Reading> | undefined;
  /**
   * On WASM a run holds the whole thread, so the frames that came meanwhile are read only after it. Where it was held for
   * long, a Cancel among them has to be seen before the next run begins.
   */
  readonly #turns = new Turns();
  #state: "empty" | "loading" | "idle" | "busy" = "empty";

  constructor(replica: Replica<Reading>, send: (call: bigint, body: Body) => void) {
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
      case "endProfile":
        return void this.#endProfile(call, body.value);
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

  #enqueue(number: bigint, items: RunItem[]): void {
    const loaded = this.#state === "idle" || this.#state === "busy";
    if (!loaded) return this.#fail(number, new Error("no replica is loaded"));
    this.#queue.push({ number, reading: this.#replica.read(items), cancelled: false });
    if (this.#state === "idle") void this.#work();
  }

  /** Runs calls until none waits. */
  async #work(): Promise<void> {
    this.#state = "busy";
    this.#turns.came();
    for (let call = this.#queue.shift(); call; call = this.#queue.shift()) {
      this.#running = call;
      await this.#run(call);
      this.#running = undefined;
      // After the last one too: the next call to come may already have been cancelled.
      await this.#turns.due();
    }
    this.#state = "idle";
  }

  async #run(call: Call<Reading>): Promise<void> {
    const pause = async () => {
      await this.#turns.due();
      if (call.cancelled) throw cancelled();
    };
    try {
      const tell: Tell = (partial) => this.#send(call.number, { case: "step", value: create(StepSchema, { partial }) });
      const value = await this.#replica.run(call.reading, pause, tell);
      this.#send(call.number, { case: "ran", value });
    } catch (error) {
      this.#fail(call.number, error);
    }
  }

  /** A call that waits is forgotten; one that runs stops at its next pause, if it has one. */
  #cancel(number: bigint): void {
    if (this.#running?.number === number) {
      this.#running.cancelled = true;
      return;
    }
    const index = this.#queue.findIndex((waiting) => waiting.number === number);
    if (index < 0) return;
    this.#queue.splice(index, 1);
    this.#fail(number, cancelled());
  }

  async #endProfile(call: bigint, end: EndProfile): Promise<void> {
    try {
      this.#send(call, { case: "profiled", value: await this.#replica.endProfile(end) });
    } catch (error) {
      this.#fail(call, error);
    }
  }

  #fail(call: bigint, error: unknown): void {
    this.#send(call, { case: "failed", value: failed(error) });
  }
}

function cancelled(): Failure {
  return new Failure(FailureKind.CANCELLED, "the call was cancelled");
}
