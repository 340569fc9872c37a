/** Runner: loads one model, and runs batches on it with the time of each hop. */
import { create } from "@bufbuild/protobuf";
import {
  type Load,
  type Loaded,
  LoadedSchema,
  type LoadProgress,
  type Outcome,
  OutcomeSchema,
  type Ran,
  RanSchema,
} from "./gen/webinfer/bridge/v1/bridge_pb";
import type { Item, ItemResult } from "./gen/webinfer/v1/inference_pb";
import { Backend } from "./gen/webinfer/v1/execution_pb";
import { LoadPhase } from "./gen/webinfer/v1/model_pb";
import { configure, facts, requireBackend } from "./backend";
import type { Replica } from "./dispatch";
import { describe, failed, Failure, type Settled } from "./failure";
import { Files } from "./files";
import { ERRORS, readPlacements, type Severity, VERBOSE } from "./placement";
import { openSession } from "./session";
import { TASKS } from "./tasks/index";
import type { Task } from "./tasks/task";
import type { Pause } from "./turn";

/** Set at build time from the installed packages. */
declare const TRANSFORMERS_VERSION: string;
declare const ONNXRUNTIME_VERSION: string;

export class Runner implements Replica {
  readonly #onLost: (failure: Failure) => void;
  #task: Task | undefined;

  constructor(onLost: (failure: Failure) => void) {
    this.#onLost = onLost;
  }

  async load(
    { base, spec, externalData, findPlacements }: Load,
    progress: (step: LoadProgress) => void,
  ): Promise<Loaded> {
    if (!spec) throw new Error("the load names no model");
    const open = TASKS[spec.task];
    if (!open) throw new Error(`there is no task ${JSON.stringify(spec.task)}`);
    const files = new Files(base, progress);
    const placements = readPlacements();
    configure(Math.max(1, spec.threads), files.fetch);
    const backend = spec.backends[0] ?? Backend.UNSPECIFIED;
    const device = await requireBackend(backend);
    const external = externalData.map((data) => ({ path: data.replace(/^onnx\//, ""), data }));
    // A session that tells where its nodes are also tells of each kernel that it runs on WebGPU, at some 50 µs each: there,
    // it is another one.
    const tells = device !== "webgpu";
    const logSeverityLevel: Severity = tells ? VERBOSE : ERRORS;
    const opening = { base, spec, device, files, externalData: external, logSeverityLevel };
    if (findPlacements && !tells) {
      const unseen = new Files(base, () => {});
      const session = openSession({ ...opening, files: unseen, logSeverityLevel: VERBOSE });
      // Without it the record says less; what really fails does so again.
      await session.then((session) => session.release()).catch(() => {});
    }
    const task = await open(opening).catch((error: unknown) => {
      // The library's own words for it do not name the file.
      if (files.missing.length > 0) throw new Error(`not found: ${files.missing.join(", ")} (${describe(error)})`);
      throw error;
    });
    files.phase(LoadPhase.WARM_UP);
    await task.warmUp();
    this.#task = task;
    return create(LoadedSchema, {
      ...(await facts(backend, this.#onLost)),
      nodePlacements: placements.list(),
      transformersVersion: TRANSFORMERS_VERSION,
      onnxruntimeVersion: ONNXRUNTIME_VERSION,
    });
  }

  async run(items: Item[], pause?: Pause): Promise<Ran> {
    const task = this.#task;
    if (!task) throw new Error("no replica is loaded");
    const begin = performance.now();
    const prepared = task.preprocess(items);
    const preprocessed = performance.now();
    const output = await task.infer(prepared, pause);
    const inferred = performance.now();
    const outcomes = task.postprocess(output, prepared).map(toOutcome);
    return create(RanSchema, {
      outcomes,
      preprocessUs: micros(preprocessed - begin),
      inferenceUs: micros(inferred - preprocessed),
      postprocessUs: micros(performance.now() - inferred),
      tokens: BigInt(task.tokens(prepared)),
    });
  }
}

function toOutcome(settled: Settled<ItemResult>): Outcome {
  const outcome: Outcome["outcome"] =
    settled instanceof Failure ? { case: "failed", value: failed(settled) } : { case: "result", value: settled };
  return create(OutcomeSchema, { outcome });
}

function micros(millis: number): bigint {
  return BigInt(Math.round(millis * 1000));
}
