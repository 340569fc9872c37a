/** Tensor: any ONNX graph, without a processor. Each item is one feed and one run. */
import { create } from "@bufbuild/protobuf";
import * as ort from "onnxruntime-web/webgpu";
import { type Item, type ItemResult, ItemResultSchema, TensorMapSchema } from "../gen/webinfer/v1/inference_pb";
import { alone, badInput, describe, each, Failure, type Settled } from "../failure";
import { checkFeed, type TensorMetadata, tensorMetadata } from "../feed";
import { openSession } from "../session";
import { fromOrt, toOrt, zeros } from "../tensors";
import type { OpenTask, Task } from "./task";

/** How the runtime marks an error of its status INVALID_ARGUMENT. */
const INVALID_ARGUMENT = /ERROR_CODE: 2\b/;

type Feed = Record<string, ort.Tensor>;
type Outputs = ort.InferenceSession.ReturnType;

export async function openTensor(opening: OpenTask): Promise<Task<Settled<Feed>[], Settled<Outputs>[]>> {
  const session = await openSession(opening);
  const inputs = tensorMetadata("input", session.inputMetadata);
  tensorMetadata("output", session.outputMetadata);
  return {
    async warmUp() {
      const feed = zeroFeed(inputs);
      if (feed) await session.run(feed);
    },
    preprocess: (items) => each(items, (item) => toFeed(item, inputs)),
    async infer(feeds, pause) {
      const outputs: Settled<Outputs>[] = [];
      for (const feed of feeds) {
        if (outputs.length > 0) await pause?.();
        outputs.push(feed instanceof Failure ? feed : await session.run(feed).catch(blame));
      }
      return outputs;
    },
    postprocess: (outputs) => each(outputs, toResult),
    tokens: () => 0,
  };
}

/** What the graph itself finds wrong with a feed, such as an index out of range, is the caller's fault. */
function blame(error: unknown): Failure {
  const message = describe(error);
  return alone(INVALID_ARGUMENT.test(message) ? badInput(message) : error);
}

/** Nothing where a dimension is free: any size that is made up could be one that the graph refuses. */
function zeroFeed(inputs: TensorMetadata[]): Feed | undefined {
  const feed: Feed = {};
  for (const { name, type, shape } of inputs) {
    if (shape.some((size) => typeof size !== "number")) return undefined;
    feed[name] = toOrt(name, zeros(type, shape as number[]));
  }
  return feed;
}

function toFeed({ input }: Item, expected: readonly TensorMetadata[]): Feed {
  if (input.case !== "tensors") throw badInput(`expected tensors, got ${input.case ?? "nothing"}`);
  const feed: Feed = {};
  for (const [name, tensor] of Object.entries(input.value.tensors)) feed[name] = toOrt(name, tensor);
  checkFeed(feed, expected);
  return feed;
}

function toResult(outputs: Outputs): ItemResult {
  const value = create(TensorMapSchema);
  for (const [name, tensor] of Object.entries(outputs)) value.tensors[name] = fromOrt(tensor);
  return create(ItemResultSchema, { output: { case: "tensors", value } });
}
