/** Pictures: what the tasks have in common whose models take pictures of one size, several in a run. */
import { cat, type RawImage, type Tensor } from "@huggingface/transformers";
import type { Item } from "../gen/webinfer/v1/inference_pb";
import { imageOf } from "./inputs";
import type { Model, Pipe } from "./pipeline";
import { release } from "./pixels";
import type { Input } from "./task";

/** A picture as the model takes it: [1, channels, height, width]. Made before the call's turn, beside the one that runs. */
export async function pictureOf(item: Item, pipe: Pipe): Promise<Tensor> {
  return processed(pipe, await imageOf(item));
}

/** Takes the picture, which is not used again. */
export async function processed({ processor }: Pipe, image: RawImage): Promise<Tensor> {
  try {
    const { pixel_values } = await processor([image]);
    return pixel_values!;
  } finally {
    release(image);
  }
}

/** Pictures as one tensor: [pictures, channels, height, width]. */
export function stacked(inputs: Input<Tensor>[]): Tensor {
  const tensors = inputs.map(({ read }) => read);
  return tensors.length === 1 ? tensors[0]! : cat(tensors, 0);
}

/** Tells pictures apart that do not go into one tensor. */
export function sizeOf({ read }: Input<Tensor>): string {
  return String(read.dims);
}

/** What the model's config calls a class. */
export function labelOf({ config }: Model, id: number): string {
  return config.id2label?.[id] ?? `LABEL_${id}`;
}
