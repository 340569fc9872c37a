/** Image classification: what a picture is. */
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import { each } from "../failure";
import { sampleImage } from "./inputs";
import { classes, scoresOf, TOP_K } from "./outputs";
import { task } from "./pipeline";
import { labelOf, pictureOf, processed, sizeOf, stacked } from "./pictures";
import { inGroups } from "./task";

export const openImageClassification = task({
  parts: "image-classification",
  batching: Batching.STACKED,
  sample: (pipe) => processed(pipe, sampleImage()),
  read: pictureOf,
  run: ({ model }, all) =>
    inGroups(all, sizeOf, async (inputs) => {
      const { logits } = await model({ pixel_values: stacked(inputs) });
      const rows = logits!.tolist() as number[][];
      return each(inputs, ({ parameters }, at) => {
        const scores = scoresOf(model.config, rows[at]!);
        return classes(
          scores.map((score, id) => ({ label: labelOf(model, id), score })),
          parameters.topK ?? TOP_K,
        );
      });
    }),
});
