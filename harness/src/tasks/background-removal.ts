/** Background removal: a picture whose alpha tells what is left. */
import type { RawImage } from "@huggingface/transformers";
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import { imageOf, sampleImage } from "./inputs";
import { pixels } from "./outputs";
import { task } from "./pipeline";
import { inTurn } from "./task";

export const openBackgroundRemoval = task({
  parts: "background-removal",
  batching: Batching.IN_TURN,
  compares: true,
  sample: sampleImage,
  read: imageOf,
  run: (pipe, inputs) =>
    inTurn<RawImage>(async ({ read }) => ({ case: "image", value: pixels((await pipe(read)) as RawImage) }))(inputs),
});
