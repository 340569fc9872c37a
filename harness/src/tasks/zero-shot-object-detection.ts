/** Zero-shot object detection: where a picture shows what the request's labels name. */
import type { RawImage } from "@huggingface/transformers";
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import { type Boxed, detections } from "./detections";
import { imageOf, sampleImage } from "./inputs";
import { sampleLabels } from "./labels";
import { task } from "./pipeline";
import { inTurn } from "./task";

export const openZeroShotObjectDetection = task({
  parts: "zero-shot-object-detection",
  batching: Batching.IN_TURN,
  compares: true,
  sample: sampleImage,
  sampleParameters: sampleLabels,
  read: imageOf,
  run: (pipe, inputs) =>
    inTurn<RawImage>(async ({ read, parameters }) => {
      const { threshold, topK, candidateLabels } = parameters;
      const boxes = await pipe(read, candidateLabels, { threshold: threshold ?? 0.1, top_k: topK ?? null });
      return detections(boxes as Boxed[]);
    })(inputs),
});
