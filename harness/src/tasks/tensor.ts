/** Tensor: any ONNX graph, without a processor. Each item is one feed and one run. */
import { create } from "@bufbuild/protobuf";
import * as ort from "onnxruntime-web/webgpu";
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import { type Item, TensorMapSchema } from "../gen/webinfer/v1/inference_pb";
import { alone, badInput, describe, each, type Failure, type Settled } from "../failure";
import { checkFeed, type TensorMetadata, tensorMetadata } from "../feed";
import { openSession } from "../session";
import { fromOrt, toOrt, zeros } from "../tensors";
import { inputOf } from "./inputs";
import type { OpenTask, Output, Task } from "./task";

/** How the runtime marks an error of its status INVALID_ARGUMENT. */
const INVALID_ARGUMENT = /ERROR_CODE: 2\b/;

type Feed = Record<string, ort.Tensor>;
type Outputs = ort.InferenceSession.ReturnType;

export async function openTensor(opening: OpenTask): Promise<Task<Feed>> {
  const { clock, shapes } = opening;
  shapes?.watch();
  const session = await openSession(opening);
  clock.watch(session);
  const inputs = tensorMetadata("input", session.inputMetadata);
  tensorMetadata("output", session.outputMetadata);
  return {
    batching: Batching.IN_TURN,
    async warmUp() {
      const feed = zeroFeed(inputs);
      if (feed) await session.run(feed);
      shapes?.settle();
    },
    read: (item) => toFeed(item, inputs),
    async run(feeds) {
      const outputs: Settled<Outputs>[] = [];
      for (const { read } of feeds) {
        if (outputs.length > 0) await clock.pause();
        outputs.push(await session.run(read).catch(blame));
      }
      return each(outputs, toOutput);
    },
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

function toFeed(item: Item, expected: readonly TensorMetadata[]): Feed {
  const feed: Feed = {};
  for (const [name, tensor] of Object.entries(inputOf(item, "tensors").tensors)) feed[name] = toOrt(name, tensor);
  checkFeed(feed, expected);
  return feed;
}

function toOutput(outputs: Outputs): Output {
  const value = create(TensorMapSchema);
  for (const [name, tensor] of Object.entries(outputs)) value.tensors[name] = fromOrt(tensor);
  return { case: "tensors", value };
}
