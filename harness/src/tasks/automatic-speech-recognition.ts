/** Automatic speech recognition: speech becomes text. */
import type { Tensor } from "@huggingface/transformers";
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import { badInput } from "../failure";
import { fewTokens, generate, roomOf } from "./generation";
import { finite } from "./outputs";
import { type Own, type Pipe, task } from "./pipeline";
import { leastOf, rateOf, sampleSound, soundOf } from "./sounds";
import { Told } from "./stops";
import { type Input, inTurn, type Output } from "./task";
import { transcribe } from "./whisper";

/** Seconds of a window, and of its ends that are left out because the model hears too little beside them. */
const [WINDOW, STRIDE] = [30, 5];
/** Tokens of a second of speech, at most, as Moonshine's authors have it (Jeffries et al., 2024). */
const TOKENS_A_SECOND = 6;

type Transcribe = (pipe: Pipe, input: Input<Float32Array>, own: Own) => Promise<Output>;

export const openAutomaticSpeechRecognition = task<Float32Array>({
  parts: "automatic-speech-recognition",
  batching: Batching.ALONE,
  sample: sampleSound,
  sampleParameters: fewTokens,
  read: soundOf,
  run: (pipe, inputs, own) => {
    const transcribe = wayOf(pipe);
    return inTurn<Float32Array>(async (input) => {
      if (input.parameters.generation?.stop.length) throw badInput("speech has no texts to stop at");
      return transcribe(pipe, input, own);
    })(inputs);
  },
});

function wayOf(pipe: Pipe): Transcribe {
  switch (pipe.model.config.model_type) {
    case "whisper":
    case "lite-whisper":
      return (pipe, input, own) => transcribe(pipe, input, own, leastOf(pipe));
    case "moonshine":
      return atOnce;
    default:
      return pipe.model.can_generate ? asTheLibrary : byFrames;
  }
}

/** What is said frame by frame, without a language model: windows overlap, and the middle of each counts. */
async function byFrames(pipe: Pipe, { read: sound, parameters, step }: Input<Float32Array>): Promise<Output> {
  refuse(parameters.transcription, "the model knows neither languages nor times");
  const { model, tokenizer, processor } = pipe;
  const rate = rateOf(pipe);
  const told = new Told(step && ((text) => step({ text })));
  const tokens: number[] = [];
  const text = () => (tokens.length > 0 ? tokenizer.decode(tokens, { skip_special_tokens: true }).trim() : "");
  for (let begin = 0; ; begin += (WINDOW - 2 * STRIDE) * rate) {
    const part = sound.subarray(begin, begin + WINDOW * rate);
    const last = begin + WINDOW * rate >= sound.length;
    const { logits } = await model(await processor(part));
    const frames = likeliest(logits!);
    const frame = (seconds: number) => Math.round((seconds * rate * frames.length) / part.length);
    tokens.push(...frames.slice(begin > 0 ? frame(STRIDE) : 0, last ? undefined : frames.length - frame(STRIDE)));
    if (last) break;
    // Its last word may go on in the next window.
    const whole = text();
    told.upTo(whole, whole.length - Math.max(0, whole.lastIndexOf(" ")));
  }
  told.all(text());
  return { case: "transcript", value: { text: text() } };
}

/** The likeliest token of each frame. */
function likeliest({ data, dims }: Tensor): number[] {
  const size = dims.at(-1)!;
  const values = data as Float32Array;
  return Array.from({ length: values.length / size }, (_, frame) => {
    const row = values.subarray(frame * size, (frame + 1) * size);
    const best = row.reduce((best, value, token) => (value > row[best]! ? token : best), 0);
    finite(row[best]!);
    return best;
  });
}

/** What is said token by token, in one run for all of the sound. */
async function atOnce(pipe: Pipe, input: Input<Float32Array>, own: Own): Promise<Output> {
  refuse(input.parameters.transcription, "the model knows neither languages nor times");
  const { generated } = await generate(pipe, input, own, {
    inputs: await pipe.processor(input.read),
    promptTokens: 1,
    most: roomOf(pipe.model),
    newTokens: Math.ceil((input.read.length / rateOf(pipe)) * TOKENS_A_SECOND),
  });
  const { text, usage } = generated;
  return { case: "transcript", value: { text: text!.trim(), usage: usage! } };
}

/** What is said by a model that the library has a way of its own for. */
async function asTheLibrary(pipe: Pipe, { read, parameters }: Input<Float32Array>): Promise<Output> {
  const { language, translate, timestamps } = parameters.transcription ?? {};
  refuse(translate || timestamps, "the model knows no times, and translates nothing");
  const { maxNewTokens } = parameters.generation ?? {};
  const settings = { ...(language && { language }), ...(maxNewTokens && { max_new_tokens: maxNewTokens }) };
  const { text } = (await pipe(read, settings)) as { text: string };
  return { case: "transcript", value: { text: text.trim() } };
}

function refuse(asked: unknown | undefined, why: string): void {
  if (asked) throw badInput(why);
}
