/** Runner: loads one model, and runs batches on it with the time of each hop. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type EndProfile,
  type Load,
  type Loaded,
  LoadedSchema,
  type LoadProgress,
  type Outcome,
  OutcomeSchema,
  type Profiled,
  ProfiledSchema,
  type Ran,
  RanSchema,
  type RunItem,
} from "./gen/webinfer/bridge/v1/bridge_pb";
import { type Item, ItemSchema, ParametersSchema, PartialSchema } from "./gen/webinfer/v1/inference_pb";
import { Backend } from "./gen/webinfer/v1/execution_pb";
import { GraphCapture, LoadPhase } from "./gen/webinfer/v1/model_pb";
import { configure, type Device, facts, hasGpu, noKernelsReason, requireBackend } from "./backend";
import { Captures } from "./capture";
import { Clock } from "./clock";
import type { Replica, Tell } from "./dispatch";
import { alone, describe, failed, Failure, type Settled, unread } from "./failure";
import { Files } from "./files";
import { ERRORS, readPlacements, type Severity, VERBOSE } from "./placement";
import { type Profiler, readProfile } from "./profile";
import { openSession, startRuntime } from "./session";
import { FixedShapes } from "./shapes";
import { TASKS } from "./tasks/index";
import type { Input, Output, Task } from "./tasks/task";
import type { Pause } from "./turn";

/** Set at build time from the installed packages. */
declare const TRANSFORMERS_VERSION: string;
declare const ONNXRUNTIME_VERSION: string;

/** The items of a call, which are being read. */
export interface Reading {
  items: RunItem[];
  /** Milliseconds for which that held the thread at once. */
  took: number;
  inputs: Promise<Settled<unknown>>[];
}

export class Runner implements Replica<Reading> {
  readonly #clock = new Clock();
  readonly #onLost: (failure: Failure) => void;
  #task: Task | undefined;
  /** There where it was loaded for a profile. */
  #profiler: Profiler | undefined;
  #backend: Backend | undefined;

  constructor(onLost: (failure: Failure) => void) {
    this.#onLost = onLost;
  }

  async load(
    { base, spec, externalData, findPlacements, profile, captureBytes, pooling }: Load,
    progress: (step: LoadProgress) => void,
  ): Promise<Loaded> {
    if (!spec) throw new Error("the load names no model");
    const open = TASKS[spec.task];
    if (!open) throw new Error(`there is no task ${JSON.stringify(spec.task)}`);
    const files = new Files(base, progress);
    const placements = readPlacements();
    const profiler = profile ? readProfile() : undefined;
    configure(Math.max(1, spec.threads), files.fetch);
    const backend = spec.backends[0] ?? Backend.UNSPECIFIED;
    const device = await requireBackend(backend);
    startRuntime(device);
    // A session that tells where its nodes are also tells of each kernel that it runs on WebGPU, at some 50 µs each: there,
    // it is another one.
    const tells = device !== "webgpu";
    const logSeverityLevel: Severity = tells ? VERBOSE : ERRORS;
    const clock = this.#clock;
    // A profile tells what a run is made of, which a replay has no part of.
    const kind = profile || captureBytes === 0n ? undefined : await shapesOn(device, spec.graphCapture);
    const shapes =
      kind &&
      {
        recorded: () => new Captures(Number(captureBytes), pooling, (shape) => clock.replayed(shape)),
        fixed: () => new FixedShapes(Number(captureBytes), placements, (...ran) => clock.replayed(...ran)),
      }[kind]();
    const opening = {
      base,
      spec,
      device,
      files,
      externalData,
      logSeverityLevel,
      enableProfiling: profile,
      clock,
      shapes,
    };
    if (findPlacements && !tells) {
      const unseen = new Files(base, () => {});
      const session = openSession({ ...opening, files: unseen, logSeverityLevel: VERBOSE, enableProfiling: false });
      // Without it the record says less; what really fails does so again. What is fatal leaves nothing to go on with.
      await session.then((session) => session.release()).catch(alone);
    }
    const task = await open(opening).catch((error: unknown) => {
      if (error instanceof Failure || files.missing.length === 0) throw error;
      // The library's own words do not name a file that lacks; it asks for some that need not be there, too.
      throw new Error(`${describe(error)} (not found: ${files.missing.join(", ")})`);
    });
    files.phase(LoadPhase.WARM_UP);
    await this.#orOfRuntime(() => task.warmUp());
    profiler?.warmed(clock.watched);
    [this.#task, this.#profiler, this.#backend] = [task, profiler, backend];
    return create(LoadedSchema, {
      batching: task.batching,
      ...(await facts(backend, this.#onLost)),
      nodePlacements: placements.list(),
      transformersVersion: TRANSFORMERS_VERSION,
      onnxruntimeVersion: ONNXRUNTIME_VERSION,
    });
  }

  read(items: RunItem[]): Reading {
    const begun = performance.now();
    const inputs = items.map(({ item }) => this.#read(item ?? create(ItemSchema)));
    return { items, took: performance.now() - begun, inputs };
  }

  /** It never throws: its call may be cancelled before anybody asks for the outcome. */
  async #read(item: Item): Promise<Settled<unknown>> {
    try {
      return await this.#loaded().read(item);
    } catch (error) {
      return unread(error);
    }
  }

  async run({ items, took, inputs }: Reading, pause: Pause, tell: Tell): Promise<Ran> {
    const task = this.#loaded();
    const begun = performance.now();
    const reads = await Promise.all(inputs);
    this.#clock.start(took + performance.now() - begun, pause);
    const good: Input<unknown>[] = [];
    reads.forEach((read, item) => {
      if (read instanceof Failure) return;
      const { parameters, steps } = items[item]!;
      const step = steps ? { step: (step: object) => tell(create(PartialSchema, { item, ...step })) } : {};
      good.push({ read, parameters: parameters ?? create(ParametersSchema), ...step });
    });
    const outputs = good.length > 0 ? await this.#orOfRuntime(() => task.run(good)) : [];
    const all = outputs.values();
    const outcomes = reads.map((read) => toOutcome(read instanceof Failure ? read : all.next().value!));
    const { preprocess, inference, postprocess, tokens, padding, replayed, placements } = this.#clock.stop();
    return create(RanSchema, {
      outcomes,
      preprocessUs: micros(preprocess),
      inferenceUs: micros(inference),
      postprocessUs: micros(postprocess),
      tokens: BigInt(tokens),
      paddingTokens: BigInt(padding),
      replayedShape: [...replayed],
      nodePlacements: placements,
    });
  }

  async endProfile({ maxTraceBytes }: EndProfile): Promise<Profiled> {
    if (!this.#profiler) throw new Error("the replica was not loaded for a profile");
    const profile = this.#profiler.end(this.#clock.watched, Number(maxTraceBytes));
    if (profile.kernels.length === 0) profile.noKernelsReason = await noKernelsReason(this.#backend);
    return create(ProfiledSchema, { profile });
  }

  #loaded(): Task {
    if (!this.#task) throw new Error("no replica is loaded");
    return this.#task;
  }

  /** What the runtime itself said comes before what the library made of it. */
  async #orOfRuntime<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw this.#clock.failure?.error ?? error;
    }
  }
}

/** How some shapes are made faster on a device, where they are. */
async function shapesOn(device: Device, wish: GraphCapture): Promise<"recorded" | "fixed" | undefined> {
  if (wish === GraphCapture.OFF || device === "wasm") return undefined;
  if (device !== "webgpu") return "fixed";
  // A software adapter computes for longer than the commands take to make, and the more what is padded.
  return wish === GraphCapture.ON || (await hasGpu()) ? "recorded" : undefined;
}

function toOutcome(settled: Settled<Output>): Outcome {
  const outcome: MessageInitShape<typeof OutcomeSchema>["outcome"] =
    settled instanceof Failure
      ? { case: "failed", value: failed(settled) }
      : { case: "result", value: { output: settled } };
  return create(OutcomeSchema, { outcome });
}

function micros(millis: number): bigint {
  return BigInt(Math.max(0, Math.round(millis * 1000)));
}
