/** Task: what a kind of model does with items, cut at the hops that are timed apart. */
import type { Item, ItemResult } from "../gen/webinfer/v1/inference_pb";
import type { ModelSpec } from "../gen/webinfer/v1/model_pb";
import type { Device } from "../backend";
import type { Settled } from "../failure";
import type { Files } from "../files";
import type { Severity } from "../placement";
import type { Pause } from "../turn";

/** Where an item fails alone, its Failure takes its place from that hop on. A hop that throws fails the whole call. */
export interface Task<Prepared = unknown, Output = unknown> {
  /** Runs the session before the replica serves. */
  warmUp(): Promise<void>;
  preprocess(items: Item[]): Prepared;
  /** Awaits `pause`, where there is one, between the runs of the session. */
  infer(prepared: Prepared, pause?: Pause): Promise<Output>;
  /** What came of each item, in their order. */
  postprocess(output: Output, prepared: Prepared): Settled<ItemResult>[];
  /** How many the session runs, padding counted. 0 where the task has no tokens. */
  tokens(prepared: Prepared): number;
}

export interface OpenTask {
  /** Path of the model's folder, ending in "/". */
  base: string;
  /** The registration with all defaults filled in. */
  spec: ModelSpec;
  device: Device;
  files: Files;
  /** Files beside the graph that hold its weights: `path` as the graph names it, `data` below the model's folder. */
  externalData: { path: string; data: string }[];
  /** How much the session writes to its log. */
  logSeverityLevel: Severity;
}
