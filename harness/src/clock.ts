/** Clock: when the sessions of a model run, for the times of the hops, and where a call can stop. */
import type * as ort from "onnxruntime-web/webgpu";
import type { NodePlacement } from "./gen/webinfer/v1/execution_pb";
import { fatal } from "./failure";
import type { Pause } from "./turn";

/** Times of one call in milliseconds, and the tokens that its sessions ran: all, and those among them that are padding. */
export interface Times {
  preprocess: number;
  inference: number;
  postprocess: number;
  tokens: number;
  padding: number;
  /** Of the inputs of the shape that ran last of those that are recorded, or have a session; empty where there was none. */
  replayed: readonly number[];
  /** Where the nodes of that session are; empty where that is as it was said of the model. */
  placements: NodePlacement[];
}

/** What of the library's models is used here: each step of a task that has several goes through `forward`. */
export interface Watchable {
  sessions: Record<string, ort.InferenceSession>;
  forward(inputs: Inputs): Promise<unknown>;
}

/** What the steps of a generation hand on lies in the GPU's memory, which is given back by hand alone. */
interface Inputs {
  past_key_values?: { dispose(): Promise<void> } | null;
}

/** A session that is watched. */
export interface Watched {
  name: string;
  session: ort.InferenceSession;
  /** How often it has run. */
  runs: number;
  /** When its last run began. */
  begun: number;
}

type Run = (feed: ort.InferenceSession.FeedsType, ...rest: unknown[]) => Promise<ort.InferenceSession.ReturnType>;

export class Clock {
  /** The sessions of the model. */
  readonly watched: Watched[] = [];
  #pause: Pause | undefined;
  #begun = 0;
  #firstRun: number | undefined;
  #lastRun = 0;
  #tokens = 0;
  #padding = 0;
  #replayed: readonly number[] = [];
  #placements: NodePlacement[] = [];
  #failure: { error: unknown } | undefined;
  /** What the last step of a generation was given and gave, some of which may lie in the GPU's memory. */
  #step: { inputs: Inputs; outputs: unknown } | undefined;

  /** A call begins whose inputs took `read` milliseconds to read. */
  start(read: number, pause?: Pause): void {
    this.#step = undefined;
    this.#pause = pause;
    this.#begun = performance.now() - read;
    this.#firstRun = undefined;
    this.#tokens = 0;
    this.#padding = 0;
    this.#replayed = [];
    this.#placements = [];
    this.#failure = undefined;
  }

  /** Milliseconds since the call began. */
  elapsed(): number {
    return performance.now() - this.#begun;
  }

  /** Of the call that ends now. */
  stop(): Times {
    const now = performance.now();
    const first = this.#firstRun ?? now;
    const last = this.#firstRun === undefined ? now : this.#lastRun;
    return {
      preprocess: first - this.#begun,
      inference: last - first,
      postprocess: now - last,
      tokens: this.#tokens,
      padding: this.#padding,
      replayed: this.#replayed,
      placements: this.#placements,
    };
  }

  /** Tells that what ran was recorded or made for its shape, and where its nodes are, if not where the model's are. */
  replayed(shape: readonly number[], placements: NodePlacement[] = []): void {
    [this.#replayed, this.#placements] = [shape, placements];
  }

  /** Throws where the call was cancelled. */
  async pause(): Promise<void> {
    await this.#pause?.();
  }

  /** Gives back what a generation that broke off behind a step has of the GPU's memory. */
  async giveBack(): Promise<void> {
    const { inputs, outputs } = this.#step ?? {};
    this.#step = undefined;
    for (const value of [...Object.values(inputs?.past_key_values ?? {}), ...Object.values(outputs ?? {})]) {
      const { location, dispose } = (value ?? {}) as { location?: string; dispose?: () => void };
      if (location === "gpu-buffer") await dispose?.call(value);
    }
  }

  /** The runtime's own error, where a session failed: the library goes on without an output, and fails at another place. */
  get failure(): { error: unknown } | undefined {
    return this.#failure;
  }

  /** Has the runs of a session counted. */
  watch(session: ort.InferenceSession, name = "model"): void {
    const watched: Watched = { name, session, runs: 0, begun: 0 };
    this.watched.push(watched);
    const run = session.run.bind(session) as Run;
    const counted: Run = async (feed, ...rest) => {
      watched.runs += 1;
      watched.begun = performance.now();
      this.#firstRun ??= watched.begun;
      const tokens = feed.input_ids as ort.Tensor | undefined;
      if (tokens) {
        this.#tokens += tokens.size;
        this.#padding += padding(tokens, feed.attention_mask as ort.Tensor | undefined);
      }
      try {
        return await run(feed, ...rest);
      } finally {
        this.#lastRun = performance.now();
      }
    };
    session.run = counted as typeof session.run;
  }

  /** Has the runs of a model of the library counted, and lets a call stop between them. */
  watchModel(model: Watchable): void {
    for (const [name, session] of Object.entries(model.sessions)) {
      this.watch(session, name);
    }
    const forward = model.forward.bind(model);
    model.forward = async (inputs) => {
      try {
        await this.pause();
        const outputs = await forward(inputs);
        if (this.#failure) throw this.#failure.error;
        this.#step = { inputs, outputs };
        return outputs;
      } catch (error) {
        await inputs.past_key_values?.dispose();
        throw error;
      }
    };
  }

  /**
   * Keeps what the runs of a model of the library throw, and what was put around them throws, for `failure`. The library
   * chains all runs to one another: one that throws would be the end of each that follows.
   *
   * A session whose outputs stay with the device `isBound`: after a run that fails, ONNX Runtime Web has it run the next on
   * the inputs of that one. So such a failure is the worker's last.
   */
  guard(model: Watchable, isBound = false): void {
    for (const session of Object.values(model.sessions)) {
      const run = session.run.bind(session) as Run;
      const guarded: Run = (feed, ...rest) =>
        run(feed, ...rest).catch((error: unknown) => {
          this.#failure ??= { error: isBound ? fatal(error) : error };
          return {};
        });
      session.run = guarded as typeof session.run;
    }
  }
}

/** Tokens of a run that its mask leaves out. */
function padding(tokens: ort.Tensor, mask: ort.Tensor | undefined): number {
  if (mask?.type !== "int64" || mask.size !== tokens.size) return 0;
  const { buffer, byteOffset, length } = mask.data as BigInt64Array;
  // The lower halves of the numbers, which are 0 or 1: many times faster than bigints.
  const halves = new Int32Array(buffer, byteOffset, 2 * length);
  let left = 0;
  for (let index = 0; index < halves.length; index += 2) left += halves[index] === 0 ? 1 : 0;
  return left;
}
