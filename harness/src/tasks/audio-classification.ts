/** Audio classification: what a sound is. The library runs one at a time. */
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import { classes, scoresOf, TOP_K } from "./outputs";
import { labelOf } from "./pictures";
import { task } from "./pipeline";
import { inTurn } from "./task";
import { sampleSound, soundOf } from "./sounds";

export const openAudioClassification = task({
  parts: "audio-classification",
  batching: Batching.IN_TURN,
  sample: sampleSound,
  read: soundOf,
  run: ({ model, processor }, inputs) =>
    inTurn<Float32Array>(async ({ read, parameters }) => {
      const { logits } = await model(await processor(read));
      const scores = scoresOf(model.config, (logits!.tolist() as number[][])[0]!);
      return classes(
        scores.map((score, id) => ({ label: labelOf(model, id), score })),
        parameters.topK ?? TOP_K,
      );
    })(inputs),
});
