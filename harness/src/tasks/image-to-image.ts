/** Image to image: a picture becomes another one, such as a larger one. */
import type { RawImage } from "@huggingface/transformers";
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import { imageOf, sampleImage } from "./inputs";
import { pixels } from "./outputs";
import { task } from "./pipeline";
import { inTurn } from "./task";

export const openImageToImage = task({
  parts: "image-to-image",
  batching: Batching.IN_TURN,
  compares: true,
  sample: sampleImage,
  read: imageOf,
  run: (pipe, inputs) =>
    inTurn<RawImage>(async ({ read }) => ({ case: "image", value: pixels((await pipe(read)) as RawImage) }))(inputs),
});
