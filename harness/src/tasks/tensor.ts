/** Tensor: any ONNX graph, without a processor. Each item is one feed and one run. */
import { create } from "@bufbuild/protobuf";
import * as ort from "onnxruntime-web/webgpu";
import {
  type Item,
  ItemSchema,
  type ItemResult,
  ItemResultSchema,
  TensorMapSchema,
} from "../gen/webinfer/v1/inference_pb";
import { badInput, describe } from "../failure";
import { checkFeed, type TensorMetadata, tensorMetadata } from "../feed";
import { fromOrt, toOrt, zeros } from "../tensors";
import type { OpenTask, Task } from "./task";

/** What a dtype adds to the name of the graph's file, as in transformers.js. */
const SUFFIX: Readonly<Record<string, string>> = { fp32: "", q8: "_quantized" };

/** How the runtime marks an error of its status INVALID_ARGUMENT. */
const INVALID_ARGUMENT = /ERROR_CODE: 2\b/;

type Feed = Record<string, ort.Tensor>;
type Outputs = ort.InferenceSession.ReturnType;

export async function openTensor({ spec, device, files, externalData }: OpenTask): Promise<Task<Feed[], Outputs[]>> {
  const bytes = await files.bytes(`onnx/model${SUFFIX[spec.dtype] ?? `_${spec.dtype}`}.onnx`);
  const session = await ort.InferenceSession.create(bytes, {
    executionProviders: [device],
    logSeverityLevel: 3,
    externalData: await Promise.all(
      externalData.map(async ({ path, data }) => ({ path, data: await files.bytes(data) })),
    ),
  });
  const inputs = tensorMetadata("input", session.inputMetadata);
  tensorMetadata("output", session.outputMetadata);
  return {
    warmUp: () => warmUp(inputs),
    preprocess: (items) => items.map((item, index) => toFeed(item, index, inputs)),
    async infer(feeds) {
      const outputs: Outputs[] = [];
      for (const [index, feed] of feeds.entries()) {
        outputs.push(await session.run(feed).catch((error: unknown) => Promise.reject(blame(error, index))));
      }
      return outputs;
    },
    postprocess: (outputs) => outputs.map(toResult),
  };
}

/** What the graph itself finds wrong with a feed, such as an index out of range, is the caller's fault. */
function blame(error: unknown, index: number): unknown {
  const message = describe(error);
  return INVALID_ARGUMENT.test(message) ? badInput(`item ${index}: ${message}`) : error;
}

/** Nothing where a dimension is free: any size that is made up could be one that the graph refuses. */
function warmUp(inputs: TensorMetadata[]): Item[][] {
  if (inputs.some(({ shape }) => shape.some((size) => typeof size !== "number"))) return [];
  const tensors = Object.fromEntries(inputs.map(({ name, type, shape }) => [name, zeros(type, shape as number[])]));
  return [[create(ItemSchema, { input: { case: "tensors", value: { tensors } } })]];
}

function toFeed({ input }: Item, index: number, expected: TensorMetadata[]): Feed {
  if (input.case !== "tensors") throw badInput(`item ${index}: expected tensors, got ${input.case ?? "nothing"}`);
  const feed: Feed = {};
  for (const [name, tensor] of Object.entries(input.value.tensors)) {
    feed[name] = toOrt(tensor, `item ${index}: tensor ${JSON.stringify(name)}`);
  }
  checkFeed(feed, expected, index);
  return feed;
}

function toResult(outputs: Outputs): ItemResult {
  const tensors = Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, fromOrt(tensor)]));
  return create(ItemResultSchema, { output: { case: "tensors", value: create(TensorMapSchema, { tensors }) } });
}
