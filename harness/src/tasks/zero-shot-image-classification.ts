/** Zero-shot image classification: which of the request's labels a picture shows. */
import type { Tensor } from "@huggingface/transformers";
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import { each } from "../failure";
import { sampleImage } from "./inputs";
import { hypotheses, labelsKey, sampleLabels } from "./labels";
import { classes, sigmoid, softmax } from "./outputs";
import { pictureOf, processed, sizeOf, stacked } from "./pictures";
import { task } from "./pipeline";
import { inGroups } from "./task";

/** Models whose labels are judged each for itself, and whose texts are padded to one length. */
const SIGMOID = /^siglip/;

export const openZeroShotImageClassification = task<Tensor>({
  parts: "zero-shot-image-classification",
  batching: Batching.STACKED,
  sample: (pipe) => processed(pipe, sampleImage()),
  sampleParameters: sampleLabels,
  read: pictureOf,
  run: ({ model, tokenizer }, all) =>
    inGroups(
      all,
      (input) => labelsKey(input) + sizeOf(input),
      async (inputs) => {
        const { parameters } = inputs[0]!;
        const alone = SIGMOID.test(model.config.model_type);
        const texts = hypotheses(parameters, "This is a photo of {}");
        const tokens = tokenizer(texts, { padding: alone ? "max_length" : true, truncation: true });
        const { logits_per_image } = await model({ ...tokens, pixel_values: stacked(inputs) });
        const rows = logits_per_image!.tolist() as number[][];
        return each(inputs, (_, at) => {
          const scores = alone ? rows[at]!.map(sigmoid) : softmax(rows[at]!);
          return classes(
            parameters.candidateLabels.map((label, index) => ({ label, score: scores[index]! })),
            texts.length,
          );
        });
      },
    ),
});
