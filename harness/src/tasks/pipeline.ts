/** Pipeline: how tasks use the library: its pipelines have a model, with its tokenizer and processor, and do their steps. */
import {
  type DataType,
  pipeline,
  type PipelineType,
  type PreTrainedModel,
  type PreTrainedTokenizer,
  type Processor,
  type Tensor,
} from "@huggingface/transformers";
import { create } from "@bufbuild/protobuf";
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import { type Item, type Parameters, ParametersSchema } from "../gen/webinfer/v1/inference_pb";
import type { ModelSpec } from "../gen/webinfer/v1/model_pb";
import { Buckets, movedBy, type Shapes } from "../buckets";
import type { Clock, Watchable } from "../clock";
import { badInput, type Settled, Failure } from "../failure";
import { besideGraph } from "../session";
import { checkOutputs } from "./outputs";
import { release } from "./pixels";
import type { Input, OpenTask, Output, Task } from "./task";

/** What the tasks read of a model's config.json and its like. */
export interface Config {
  model_type: string;
  id2label?: Record<number, string>;
  label2id?: Record<string, number>;
  problem_type?: string;
  prefix?: string;
  task_specific_params?: Record<string, { prefix?: string } | undefined> | null;
  is_encoder_decoder?: boolean;
  max_position_embeddings?: number;
  pad_token_id?: number;
  n_positions?: number;
  max_source_positions?: number;
  max_target_positions?: number;
  sampling_rate?: number;
  text_config?: Config;
  decoder?: Config;
}

export type Model = Omit<PreTrainedModel, "config" | "forward"> &
  Watchable & {
    config: Config;
    can_generate: boolean;
    generation_config?: Record<string, unknown> | null;
    (inputs: object): Promise<Record<string, Tensor>>;
    generate(options: object): Promise<Tensor>;
  };

/** A pipeline of the library, as tasks call it. */
export interface Pipe {
  (...inputs: unknown[]): Promise<unknown>;
  model: Model;
  tokenizer: PreTrainedTokenizer;
  processor: Processor & {
    feature_extractor?: { config: Record<string, number> };
    image_processor?: {
      config: object;
      get_resize_output_image_size?: (image: object, size: unknown) => [width: number, height: number];
    };
    (...inputs: unknown[]): Promise<Record<string, Tensor>>;
  };
}

/** What a task's own file says of it. */
export interface Steps<Read> {
  /** The library's pipeline, or what opens another set of parts. */
  parts: PipelineType | ((name: string, options: Options) => Promise<Pipe>);
  batching: Batching;
  /** Whether its steps compare the model's numbers, and would take what is no number for nothing found. */
  compares?: boolean;
  /** An input to run before the replica serves, alone and, where runs are shared, twice; nothing where none can be made. */
  sample: (pipe: Pipe) => Read | Promise<Read> | undefined;
  /** With what the sample runs. */
  sampleParameters?: (pipe: Pipe) => Parameters;
  read: (item: Item, pipe: Pipe) => Read | Promise<Read>;
  run: (pipe: Pipe, inputs: Input<Read>[], own: Own) => Promise<Settled<Output>[]>;
}

/** What else a run may need. */
export interface Own {
  spec: ModelSpec;
  clock: Clock;
}

/** What the library takes for the loading of a model. */
export interface Options {
  device: OpenTask["device"];
  dtype: Record<string, DataType>;
  use_external_data_format: Record<string, number>;
  session_options: object;
}

/** Makes a task of its steps. */
export function task<Read>(steps: Steps<Read>): (opening: OpenTask) => Promise<Task<Read>> {
  return async (opening) => {
    const { base, spec, clock, shapes } = opening;
    // A name that begins with a slash is a path on the page's own origin to the library.
    const name = base.replace(/\/$/, "");
    const { parts } = steps;
    const together = steps.batching === Batching.PADDED || steps.batching === Batching.STACKED;
    // What runs several items at once runs its model once for them, on the CPU's memory.
    if (together) shapes?.watch();
    const opened = typeof parts === "string" ? pipeline(parts, name, options(opening)) : parts(name, options(opening));
    const pipe = (await opened) as unknown as Pipe;
    clock.watchModel(pipe.model);
    if (steps.compares) checkEach(pipe.model);
    boundTexts(pipe);
    refuseNarrow(pipe);
    const buckets = shapes ? bucketsOf(pipe, shapes, spec) : [];
    // On WebGPU the library leaves the caches of generations there.
    const { device } = opening;
    clock.guard(pipe.model, device.startsWith("webnn") || (device === "webgpu" && pipe.model.can_generate));
    const own = { spec, clock };
    const runSample = async (): Promise<void> => {
      const read = await steps.sample(pipe);
      if (read === undefined) return;
      const input = { read, parameters: steps.sampleParameters?.(pipe) ?? create(ParametersSchema) };
      // One alone and several together have kernels of their own.
      for (const inputs of together ? [[input], [input, input]] : [[input]]) {
        clock.start(0);
        for (const output of await steps.run(pipe, inputs, own)) if (output instanceof Failure) throw output;
      }
      for (const bucket of buckets) await bucket.warmUp();
      // What a watched session throws is kept there.
      if (clock.failure) throw clock.failure.error;
    };
    return {
      batching: steps.batching,
      async warmUp() {
        await runSample();
        shapes?.settle();
      },
      read: (item) => steps.read(item, pipe),
      run: (inputs) => steps.run(pipe, inputs, own).finally(() => inputs.forEach(({ read }) => release(read))),
    };
  };
}

/** Has what a model gives checked before the library makes something of it. */
function checkEach(model: Model): void {
  const forward = model.forward.bind(model);
  model.forward = async (inputs) => {
    const outputs = await forward(inputs);
    checkOutputs(outputs as object);
    return outputs;
  };
}

/** Of these the first position is that behind the padding's id. */
const BEHIND_PADDING = /roberta|camembert|mpnet|longformer|data2vec-text|ibert/;

/** Has texts cut that are longer than the model has positions, where its tokenizer does not say how long they may be. */
function boundTexts({ tokenizer, model: { config } }: Pipe): void {
  const { max_position_embeddings: positions, model_type, pad_token_id = 0 } = config;
  if (!tokenizer || positions === undefined) return;
  const most = positions - (BEHIND_PADDING.test(model_type) ? pad_token_id + 1 : 0);
  if ((tokenizer.model_max_length as number) > most)
    Object.defineProperty(tokenizer, "model_max_length", { value: most });
}

/** Has a picture of which nothing is left in the model's size be its item's failure. The browser would draw none. */
function refuseNarrow({ processor }: Pipe): void {
  const images = processor?.image_processor;
  const resized = images?.get_resize_output_image_size?.bind(images);
  if (!images || !resized) return;
  images.get_resize_output_image_size = (image, size) => {
    const sides = resized(image, size);
    if (Math.min(...sides) >= 1) return sides;
    throw badInput(`the image is too narrow: the model would see it as ${sides.join(" x ")} pixels`);
  };
}

/** Has the runs of the model's sessions padded to shapes. */
function bucketsOf({ model, tokenizer }: Pipe, shapes: Shapes, { maxBatch, dtypes }: ModelSpec): Buckets[] {
  const { config } = model;
  const length = Math.min(config.max_position_embeddings ?? Infinity, tokenizer?.model_max_length ?? Infinity);
  // The library's names of sessions are not those of the graphs' files.
  const moved = movedBy(Object.values(dtypes));
  const most = { rows: maxBatch, length, pad: BigInt(config.pad_token_id ?? 0), moved };
  return Object.values(model.sessions).flatMap((session) => {
    const shaped = shapes.of(session);
    return (shaped && Buckets.over(session, shaped, most)) ?? [];
  });
}

function options({ device, spec, externalData, logSeverityLevel, enableProfiling }: OpenTask): Options {
  // The library finds weights by its own names for their files; those of another name are handed to the session.
  const counts: Record<string, number> = {};
  const others: { path: string; data: string }[] = [];
  for (const data of externalData) {
    const graph = /^onnx\/(.+\.onnx)_data(_\d+)?$/.exec(data)?.[1];
    if (graph) counts[graph] = (counts[graph] ?? 0) + 1;
    else others.push({ path: besideGraph(data), data });
  }
  return {
    device,
    dtype: spec.dtypes as Record<string, DataType>,
    use_external_data_format: counts,
    session_options: { logSeverityLevel, enableProfiling, ...(others.length > 0 && { externalData: others }) },
  };
}
