/** Image segmentation: what each part of a picture shows. The library takes one picture at a time. */
import type { RawImage } from "@huggingface/transformers";
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import { imageOf, sampleImage } from "./inputs";
import { finite, pixels } from "./outputs";
import { task } from "./pipeline";
import { inTurn } from "./task";

interface Annotation {
  label: string | null;
  score: number | null;
  mask: RawImage;
}

export const openImageSegmentation = task({
  parts: "image-segmentation",
  batching: Batching.IN_TURN,
  compares: true,
  sample: sampleImage,
  read: imageOf,
  run: (pipe, inputs) =>
    inTurn<RawImage>(async ({ read, parameters }) => {
      const annotations = (await pipe(read, { threshold: parameters.threshold ?? 0.5 })) as Annotation[];
      const segments = annotations.map(({ label, score, mask }) => ({
        label: label ?? "",
        ...(score !== null && { score: finite(score) }),
        mask: pixels(mask),
      }));
      return { case: "segments", value: { segments } };
    })(inputs),
});
