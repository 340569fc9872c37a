/** Text to audio: a text is spoken. */
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import type { Parameters } from "../gen/webinfer/v1/inference_pb";
import { badInput } from "../failure";
import { floatsOf, textOf } from "./inputs";
import { checkNumbers } from "./outputs";
import { type Model, type Pipe, task } from "./pipeline";
import { inTurn } from "./task";

/** Supertonic speaks with a voice that is given alone. */
const hasNoVoice = ({ config }: Model) => config.model_type === "supertonic";

interface Spoken {
  audio: Float32Array<ArrayBuffer>;
  sampling_rate: number;
}

export const openTextToAudio = task({
  parts: "text-to-audio",
  // Padding would be spoken too.
  batching: Batching.ALONE,
  sample: ({ model }) => (hasNoVoice(model) ? undefined : "one"),
  read: (item) => {
    const text = textOf(item);
    if (text.trim() !== "") return text;
    throw badInput("the text is empty: there is nothing to speak");
  },
  run: (pipe, inputs) =>
    inTurn<string>(async ({ read, parameters }) => {
      const { audio, sampling_rate } = (await pipe(read, voice(pipe, parameters))) as Spoken;
      checkNumbers(audio, "the sound");
      const data = new Uint8Array(audio.buffer, audio.byteOffset, audio.byteLength);
      return { case: "audio", value: { rate: sampling_rate, data } };
    })(inputs),
});

function voice({ model }: Pipe, { voice }: Parameters): object {
  const { speaker, speed, steps } = voice ?? {};
  if (!speaker && hasNoVoice(model)) throw badInput("the model has no voice of its own: give one, as voice.speaker");
  if (speaker && speaker.data.byteLength % 4 !== 0) throw badInput("the speaker is not made of 32-bit floats");
  return {
    ...(speaker && { speaker_embeddings: floatsOf(speaker) }),
    ...(speed !== undefined && { speed }),
    ...(steps !== undefined && { num_inference_steps: steps }),
  };
}
