/** Text classification: what a text is. The steps of the library's pipeline, with the tokens made as texts are read. */
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import { each } from "../failure";
import { SAMPLE_TEXT, textOf } from "./inputs";
import { classes, scoresOf, TOP_K } from "./outputs";
import { labelOf } from "./pictures";
import { task } from "./pipeline";
import { together, type Tokens, tokensOf } from "./tokens";

export const openTextClassification = task<Tokens>({
  parts: "text-classification",
  batching: Batching.PADDED,
  sample: (pipe) => tokensOf(pipe, SAMPLE_TEXT),
  read: (item, pipe) => tokensOf(pipe, textOf(item)),
  async run(pipe, inputs) {
    const tokens = together(
      pipe,
      inputs.map(({ read }) => read),
    );
    const { logits } = await pipe.model(tokens);
    const rows = logits!.tolist() as number[][];
    return each(inputs, ({ parameters }, at) => {
      const scores = scoresOf(pipe.model.config, rows[at]!);
      return classes(
        scores.map((score, id) => ({ label: labelOf(pipe.model, id), score })),
        parameters.topK ?? TOP_K,
      );
    });
  },
});
