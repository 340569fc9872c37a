/** Object detection: what a picture shows, in boxes. The library takes one picture at a time. */
import type { RawImage } from "@huggingface/transformers";
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import { type Boxed, detections } from "./detections";
import { imageOf, sampleImage } from "./inputs";
import { task } from "./pipeline";
import { inTurn } from "./task";

export const openObjectDetection = task({
  parts: "object-detection",
  batching: Batching.IN_TURN,
  sample: sampleImage,
  read: imageOf,
  run: (pipe, inputs) =>
    inTurn<RawImage>(async ({ read, parameters }) =>
      detections((await pipe(read, { threshold: parameters.threshold ?? 0.9 })) as Boxed[]),
    )(inputs),
});
