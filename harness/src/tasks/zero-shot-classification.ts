/** Zero-shot classification: which of the request's labels hold of a text, by what a model of inference says of a sentence. */
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import { SAMPLE_TEXT, textOf } from "./inputs";
import { hypotheses, sampleLabels } from "./labels";
import { classes, softmax } from "./outputs";
import { judgePairs } from "./pairs";
import { type Model, task } from "./pipeline";
import { inTurn } from "./task";

export const openZeroShotClassification = task({
  parts: "zero-shot-classification",
  batching: Batching.IN_TURN,
  sample: () => SAMPLE_TEXT,
  sampleParameters: sampleLabels,
  read: textOf,
  run: (pipe, inputs) => {
    const [contradicts, entails] = verdicts(pipe.model);
    return inTurn<string>(async ({ read, parameters }) => {
      const labels = parameters.candidateLabels;
      const logits = await judgePairs(pipe, read, hypotheses(parameters, "This example is {}."), "text");
      const alone = parameters.multiLabel || labels.length === 1;
      const scores = alone
        ? logits.map((row) => softmax([row[contradicts]!, row[entails]!])[1]!)
        : softmax(logits.map((row) => row[entails]!));
      return classes(
        labels.map((label, at) => ({ label, score: scores[at]! })),
        labels.length,
      );
    })(inputs);
  },
});

/** The indices of the two verdicts that count, as the library finds them. */
function verdicts({ config }: Model): [contradiction: number, entailment: number] {
  const byName = new Map(Object.entries(config.label2id ?? {}).map(([name, index]) => [name.toLowerCase(), index]));
  return [byName.get("contradiction") ?? byName.get("not_entailment") ?? 0, byName.get("entailment") ?? 2];
}
