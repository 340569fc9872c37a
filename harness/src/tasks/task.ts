/** Task: what a kind of model does with items, cut at the hops that are timed apart. */
import type { Item, ItemResult } from "../gen/webinfer/v1/inference_pb";
import type { ModelSpec } from "../gen/webinfer/v1/model_pb";
import type { Device } from "../backend";
import type { Files } from "../files";

export interface Task<Prepared = unknown, Output = unknown> {
  /** Batches to run once before the replica serves. */
  warmUp(): Item[][];
  /** Throws a Failure of the kind BAD_INPUT where an item does not fit. */
  preprocess(items: Item[]): Prepared;
  infer(prepared: Prepared): Promise<Output>;
  /** One result for each item, in their order. */
  postprocess(output: Output, prepared: Prepared): ItemResult[];
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
}
