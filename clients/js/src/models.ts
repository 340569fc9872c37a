/** Models: what a service knows of them, and their registration. */

import type { Client as RpcClient } from "@connectrpc/connect";
import { messages, type Calls, type Options } from "./calls.js";
import { InvalidInput, Unavailable } from "./errors.js";
import { Backend } from "./gen/webinfer/v1/execution_pb.js";
import {
  Fallback,
  GraphCapture,
  LoadPhase,
  ModelSpecSchema,
  ModelState,
  Pooling,
  type LoadResponse,
  type Model as ModelMessage,
  type ModelService,
} from "./gen/webinfer/v1/model_pb.js";
import { checked, nameOf, valueOf } from "./names.js";

/** A registration. What is left out is as the service has it. */
export interface ModelSpec {
  /** Id by which requests name the model. */
  id: string;
  /** Folder below the service's models folder. Default: the id. */
  source?: string;
  /** As transformers.js names it, or "tensor". */
  task?: string;
  /** "wasm", "webgpu", "webnn-cpu", "webnn-gpu" or "webnn-npu", the best first. */
  backends?: string[];
  /** Precision, such as "fp32", "fp16", "q8" or "q4". */
  dtype?: string;
  /** The same by the bits of the weights: 2, 4, 8, 16 or 32. */
  bits?: number;
  /** Graphs with a precision of their own, such as `{ encoder_model: "fp32" }`. */
  dtypes?: Record<string, string>;
  /**
   * In place of a precision, how far answers may be from the reference, from 0 to 1: the smallest precision is chosen of
   * which no more was measured.
   */
  maxError?: number;
  /** Workers that have it, 1 to 64. */
  replicas?: number;
  /** WASM threads of one replica, 1 to 64. */
  threads?: number;
  /** "mean" or "cls". */
  pooling?: string;
  /** Whether vectors have unit length. Default: true. */
  normalize?: boolean;
  /** Where the first backend is not to be had: "exact" fails, "backend" takes the next, "simulation" pretends, labelled. */
  fallback?: string;
  /** Most items that run in one call. */
  maxBatch?: number;
  /** Whether some shapes are made faster on a GPU and on WebNN: "auto", "on" or "off". Default: "auto". */
  graphCapture?: string;
  /** Whether its graphs are optimised before they run. Default: as the service is set. */
  optimize?: boolean;
  /** The kind of browser that it runs in, such as "firefox". Default: any. */
  browser?: string;
}

/** A model as the service knows it. */
export interface Model {
  id: string;
  source: string;
  task: string;
  backends: string[];
  /** The precision that all graphs have, or "". */
  dtype: string;
  /** That of each graph. */
  dtypes: Record<string, string>;
  /** "registered", "loading", "ready", "failed", "asleep" or "simulated". */
  state: string;
  /** Why it is "failed" or "simulated". */
  error: string;
  readyReplicas: number;
  availableDtypes: string[];
  /** Bytes of all files that a worker loads. */
  size: number;
  /** Their hash. */
  sha256: string;
}

/** A step of a load. */
export interface LoadStep {
  /** "prepare", "files", "compile", "warm-up", and at the end "ready" or "simulated". */
  phase: string;
  file: string;
  loadedBytes: number;
  totalBytes: number;
  readyReplicas: number;
  replicas: number;
  elapsedMs: number;
}

/** The models of a service. */
export class Models {
  readonly #rpc: RpcClient<typeof ModelService>;
  readonly #calls: Calls;

  /** @internal */
  constructor(rpc: RpcClient<typeof ModelService>, calls: Calls) {
    this.#rpc = rpc;
    this.#calls = calls;
  }

  /** All that are registered, in the order of their ids. */
  async list(options: Options = {}): Promise<Model[]> {
    const { models } = await this.#calls.attempt(options, (call) => this.#rpc.list({}, call));
    return models.map(model);
  }

  /** One of them, with its state. Throws `NotFound` where there is none. */
  async get(id: string, options: Options = {}): Promise<Model> {
    return model((await this.#calls.attempt(options, (call) => this.#rpc.get({ id }, call))).model!);
  }

  /** Makes a model known under an id. */
  async register(spec: ModelSpec, options: Options = {}): Promise<Model> {
    const { normalize = true, backends = [], pooling, fallback, graphCapture, ...plain } = spec ?? {};
    if (!Array.isArray(backends)) {
      throw new InvalidInput(`backends are a list, such as [${JSON.stringify(backends)}]`);
    }
    const request = checked(ModelSpecSchema, {
      unnormalized: !normalize,
      ...plain,
      backends: backends.map((name) => valueOf(Backend, ALIASES[name] ?? name)),
      pooling: valueOf(Pooling, pooling),
      fallback: valueOf(Fallback, fallback),
      graphCapture: valueOf(GraphCapture, graphCapture),
    });
    return model((await this.#calls.attempt(options, (call) => this.#rpc.register({ spec: request }, call))).model!);
  }

  /** Loads a model until it serves; returns its last step. Tells `progress` of each: what that throws ends the load. */
  async load(id: string, options: Options & { progress?: (step: LoadStep) => void } = {}): Promise<LoadStep> {
    const timeoutMs = options.timeoutMs ?? this.#calls.settings.loadTimeoutMs;
    const leaving = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, leaving.signal]) : leaving.signal;
    try {
      const last = await this.#calls.attempt({ signal, timeoutMs }, async (call) => {
        for await (const message of messages(call, this.#rpc.load({ id }, call))) {
          const step = loadStep(message);
          try {
            options.progress?.(step);
          } catch (thrown) {
            // It is no failed attempt.
            return { thrown };
          }
          if (step.phase === "ready" || step.phase === "simulated") {
            return { step };
          }
        }
        throw new Unavailable("the service ended the load without an answer", { code: "UNAVAILABLE" });
      });
      if (!last.step) {
        throw last.thrown;
      }
      return last.step;
    } finally {
      leaving.abort();
    }
  }

  /** Ends a model's workers, and returns how many there were. */
  async unload(id: string, options: Options = {}): Promise<number> {
    return (await this.#calls.attempt(options, (call) => this.#rpc.unload({ id }, call))).endedReplicas;
  }

  /** Unloads a model and forgets it. */
  async unregister(id: string, options: Options = {}): Promise<void> {
    await this.#calls.attempt(options, (call) => this.#rpc.unregister({ id }, call));
  }
}

// As on the command line.
const ALIASES: Record<string, string> = { cpu: "wasm", webnn: "webnn-cpu" };

function model(message: ModelMessage): Model {
  const { spec } = message;
  return {
    id: spec?.id ?? "",
    source: spec?.source ?? "",
    task: spec?.task ?? "",
    backends: (spec?.backends ?? []).map((backend) => nameOf(Backend, backend)),
    dtype: spec?.dtype ?? "",
    dtypes: spec?.dtypes ?? {},
    state: nameOf(ModelState, message.state),
    error: message.error,
    readyReplicas: message.readyReplicas,
    availableDtypes: message.availableDtypes,
    size: Number(message.bytes),
    sha256: message.sha256,
  };
}

function loadStep(message: LoadResponse): LoadStep {
  const { file, readyReplicas, replicas } = message;
  return {
    phase: nameOf(LoadPhase, message.phase),
    file,
    loadedBytes: Number(message.loadedBytes),
    totalBytes: Number(message.totalBytes),
    readyReplicas,
    replicas,
    elapsedMs: Number(message.elapsedMs),
  };
}
