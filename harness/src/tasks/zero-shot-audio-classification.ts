/** Zero-shot audio classification: which of the request's labels a sound is. The library runs one at a time. */
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import { hypotheses, sampleLabels } from "./labels";
import { classes, softmax } from "./outputs";
import { task } from "./pipeline";
import { sampleSound, soundOf } from "./sounds";
import { inTurn } from "./task";

export const openZeroShotAudioClassification = task({
  parts: "zero-shot-audio-classification",
  batching: Batching.IN_TURN,
  sample: sampleSound,
  sampleParameters: sampleLabels,
  read: soundOf,
  run: ({ model, processor, tokenizer }, inputs) =>
    inTurn<Float32Array>(async ({ read, parameters }) => {
      const texts = hypotheses(parameters, "This is a sound of {}.");
      const tokens = tokenizer(texts, { padding: true, truncation: true });
      const { logits_per_audio } = await model({ ...tokens, ...(await processor(read)) });
      const scores = softmax((logits_per_audio!.tolist() as number[][])[0]!);
      return classes(
        parameters.candidateLabels.map((label, at) => ({ label, score: scores[at]! })),
        texts.length,
      );
    })(inputs),
});
