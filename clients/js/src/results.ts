/** Results: what comes of a request, with typed arrays over the message's bytes, and the record of what ran. */

import { Backend, Hardware, Origin, type Execution as ExecutionMessage } from "./gen/webinfer/v1/execution_pb.js";
import {
  FinishReason,
  type Answer as AnswerOutput,
  type Chunk,
  type Class,
  type Detection,
  type Fill,
  type InferResponse,
  type ItemResult,
  type Partial$ as PartialMessage,
  type Pixels,
  type RankedDocument,
  type Segment,
  type Span,
  type Usage,
} from "./gen/webinfer/v1/inference_pb.js";
import type { Samples } from "./inputs.js";
import { nameOf } from "./names.js";
import { elements, fromMessage, type Tensor } from "./tensors.js";

/** Microseconds by hop: waiting, on the way to the worker, and inside of it. */
export interface Timings {
  queueUs: number;
  bridgeUs: number;
  preprocessUs: number;
  inferenceUs: number;
  postprocessUs: number;
}

/** The record of what really ran. */
export interface Execution {
  browser: string;
  browserVersion: string;
  /** "wasm", "webgpu", "webnn-cpu", "webnn-gpu" or "webnn-npu". */
  backendRequested: string;
  /** The same, or "simulation". */
  backendUsed: string;
  /** Why these two differ; empty where they are the same. */
  fallbackReason: string;
  /** WebGPU adapter as the browser names it. Empty on WASM. */
  adapter: string;
  /** "cpu", "software-adapter", "gpu", or "unspecified" where nothing is known. */
  hardware: string;
  dtype: string;
  threads: number;
  transformersVersion: string;
  onnxruntimeVersion: string;
  modelSha256: string;
  workerId: string;
  batchSize: number;
  retries: number;
  /** "run", or "coalesced", "cache" or "simulated" where no run was made for this item alone. */
  origin: string;
  /** Nodes of the graph by what ran them. */
  nodePlacements: Record<string, number>;
  simulated: boolean;
  timings: Timings;
}

/** A text that was made. */
export interface Generated {
  text: string;
  /** "stop" (the model), "stop-text" or "length". */
  finishReason: string;
  usage: Usage | undefined;
}

/** Speech as text, with segments or words where times were asked for. */
export interface Transcript {
  text: string;
  chunks: Chunk[];
  language: string;
  usage: Usage | undefined;
}

/** What an output is, by its kind. Lists have the likeliest or best first, spans the order of the text. */
export interface Outputs {
  embedding: Float32Array;
  tensors: Record<string, Tensor>;
  classes: Class[];
  spans: Span[];
  answers: AnswerOutput[];
  fills: Fill[];
  generated: Generated;
  ranking: RankedDocument[];
  segments: Segment[];
  detections: Detection[];
  depth: Tensor;
  image: Pixels;
  transcript: Transcript;
  audio: Samples;
}

/** An output with its kind. */
export type Output = { [K in keyof Outputs]: { kind: K; value: Outputs[K] } }[keyof Outputs];

/** What came of one item. */
export class Result {
  constructor(
    /** The output. */
    readonly output: Output,
    /** What ran. */
    readonly execution: Execution,
  ) {}

  /** The vector. Throws a TypeError for another kind of output. */
  get embedding(): Float32Array {
    return this.as("embedding");
  }

  /** The graph's outputs. Throws a TypeError for another kind of output. */
  get tensors(): Record<string, Tensor> {
    return this.as("tensors");
  }

  /** The text that was made or heard. Throws a TypeError for another kind of output. */
  get text(): string {
    return this.output.kind === "transcript" ? this.output.value.text : this.as("generated").text;
  }

  /** The output, of a kind that is known. Throws a TypeError for another one. */
  as<K extends keyof Outputs>(kind: K): Outputs[K] {
    if (this.output.kind !== kind) {
      throw new TypeError(`the output is of the kind ${this.output.kind}, not ${kind}`);
    }
    return this.output.value as Outputs[K];
  }
}

/** The answer to a request. */
export class Response {
  /** What ran, one for each batch that took part. */
  readonly executions: Execution[];
  /** One for each item, in the order of the items. */
  readonly results: Result[];

  constructor(
    /** The message itself. */
    readonly message: InferResponse,
  ) {
    this.executions = message.executions.map(execution);
    this.results = message.results.map((each) => new Result(output(each), this.executions[each.execution]!));
  }

  /** The only result. Throws a TypeError where there are several. */
  get only(): Result {
    const [first, ...others] = this.results;
    if (!first || others.length) {
      throw new TypeError(`there are ${this.results.length} results, not one`);
    }
    return first;
  }
}

/** What an item has come to since the last one about it. Where it `restarted`, what came before is void. */
export interface Partial {
  item: number;
  restarted: boolean;
  text: string;
  chunks: Chunk[];
}

/** From its message. */
export function partial({ item, restarted, text, chunks }: PartialMessage): Partial {
  return { item, restarted, text, chunks };
}

function execution(message: ExecutionMessage): Execution {
  const { $typeName: _, $unknown: __, nodePlacements, timings, ...plain } = message;
  const us = (value: bigint | undefined) => Number(value ?? 0n);
  return {
    ...plain,
    backendRequested: nameOf(Backend, message.backendRequested),
    backendUsed: nameOf(Backend, message.backendUsed),
    hardware: nameOf(Hardware, message.hardware),
    origin: nameOf(Origin, message.origin),
    nodePlacements: Object.fromEntries(nodePlacements.map(({ provider, nodes }) => [provider, nodes])),
    timings: {
      queueUs: us(timings?.queueUs),
      bridgeUs: us(timings?.bridgeUs),
      preprocessUs: us(timings?.preprocessUs),
      inferenceUs: us(timings?.inferenceUs),
      postprocessUs: us(timings?.postprocessUs),
    },
  };
}

function output({ output }: ItemResult): Output {
  switch (output.case) {
    case "embedding":
      return { kind: "embedding", value: Float32Array.from(output.value.values) };
    case "tensors": {
      const tensors = Object.entries(output.value.tensors).map(([name, tensor]) => [name, fromMessage(tensor)]);
      return { kind: "tensors", value: Object.fromEntries(tensors) as Record<string, Tensor> };
    }
    case "classes":
      return { kind: "classes", value: output.value.classes };
    case "spans":
      return { kind: "spans", value: output.value.spans };
    case "answers":
      return { kind: "answers", value: output.value.answers };
    case "fills":
      return { kind: "fills", value: output.value.fills };
    case "generated": {
      const { text, finishReason, usage } = output.value;
      return { kind: "generated", value: { text, finishReason: nameOf(FinishReason, finishReason), usage } };
    }
    case "ranking":
      return { kind: "ranking", value: output.value.documents };
    case "segments":
      return { kind: "segments", value: output.value.segments };
    case "detections":
      return { kind: "detections", value: output.value.detections };
    case "depth":
      return { kind: "depth", value: fromMessage(output.value) };
    case "image":
      return { kind: "image", value: output.value };
    case "transcript": {
      const { text, chunks, language, usage } = output.value;
      return { kind: "transcript", value: { text, chunks, language, usage } };
    }
    case "audio": {
      const samples = elements(output.value.data, Float32Array);
      return { kind: "audio", value: { samples, rate: output.value.rate } };
    }
    case undefined:
      throw new TypeError("the answer has an output that this client does not know");
  }
}
