/** Text classification: what a text is. */
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import { each } from "../failure";
import { SAMPLE_TEXT, textOf } from "./inputs";
import { classes, type Scored, TOP_K } from "./outputs";
import { task } from "./pipeline";

export const openTextClassification = task({
  parts: "text-classification",
  batching: Batching.PADDED,
  sample: () => SAMPLE_TEXT,
  read: textOf,
  async run(pipe, inputs) {
    const texts = inputs.map(({ read }) => read);
    const all = (await pipe(texts, { top_k: null })) as Scored[][];
    return each(inputs, ({ parameters }, at) => classes(all[at]!, parameters.topK ?? TOP_K));
  },
});
