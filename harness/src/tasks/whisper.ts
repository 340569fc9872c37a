/**
 * Whisper: speech becomes text window by window, each of which begins where the last one's whole segments end. The library
 * goes through long sound by itself, but tells nothing meanwhile, and takes all speech for English where nothing is said.
 */
import type { Tensor } from "@huggingface/transformers";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type ChunkSchema, type Parameters, Timestamps } from "../gen/webinfer/v1/inference_pb";
import { badInput } from "../failure";
import { generate, type Made, type Making } from "./generation";
import type { Own, Pipe } from "./pipeline";
import { cut, type Segment, segmentsOf } from "./segments";
import type { Input, Output, Step } from "./task";
import { detect, languageOf, promptOf, type Whisper } from "./whisper-language";
import { TimesProcessor } from "./whisper-rules";

type Chunk = MessageInitShape<typeof ChunkSchema>;

/** The library's own, as it puts tokens together to words. */
interface Words {
  _decode_asr(
    windows: object[],
    options: object,
  ): [string, { chunks: { text: string; timestamp: [number, number | null] }[] }];
}

type Whispering = Pipe & { model: Whisper; tokenizer: Words };

/** What all windows came to. */
class Transcript {
  text = "";
  readonly chunks: Chunk[] = [];
  readonly usage = { promptTokens: 0, generatedTokens: 0, firstTokenUs: 0n };
  readonly #step: ((step: Step) => void) | undefined;

  constructor(step: ((step: Step) => void) | undefined) {
    this.#step = step;
  }

  count(promptTokens: number, { tokens, firstTokenUs }: Made): void {
    this.usage.promptTokens += promptTokens;
    this.usage.generatedTokens += tokens.length;
    this.usage.firstTokenUs ||= firstTokenUs;
  }

  add(text: string, chunks: Chunk[]): void {
    const added = this.text === "" ? text.trimStart() : text;
    this.text += added;
    this.chunks.push(...chunks);
    if (added || chunks.length > 0) this.#step?.({ text: added, chunks });
  }
}

/** A window of the sound, in seconds, and whether it reaches to the sound's end. */
interface Window {
  begin: number;
  seconds: number;
  last: boolean;
}

const ENCODED = "encoder_outputs";

/** `least` is how many samples are heard at all. */
export async function transcribe(pipe: Pipe, input: Input<Float32Array>, own: Own, least: number): Promise<Output> {
  const whispering = pipe as unknown as Whispering;
  const { model, processor } = whispering;
  const { chunk_length, sampling_rate: rate } = processor.feature_extractor!.config as Record<string, number>;
  const { read: sound, parameters, step } = input;
  const size = chunk_length! * rate!;
  const single = sound.length <= size;
  // Where windows follow one another, the times tell where to go on.
  const timed = wanted(parameters) !== Timestamps.NONE || !single;
  const transcript = new Transcript(timed ? step : undefined);
  let language = languageOf(model, parameters);
  for (let at = 0; at === 0 || sound.length - at >= least;) {
    const part = sound.subarray(at, at + size);
    const inputs = await encoded(model, (await processor(part)).input_features!);
    language ??= await detect(model, inputs);
    const prompt = promptOf(model, language, parameters, timed);
    const window = { begin: at / rate!, seconds: part.length / rate!, last: at + size >= sound.length };
    const hearing = { pipe: whispering, own, inputs, prompt, window, transcript };
    const next = timed ? await hear(hearing, parameters) : await write(hearing, input);
    at += Math.round(next * rate!);
  }
  const { text, chunks, usage } = transcript;
  return { case: "transcript", value: { text: text.trim(), chunks, language: language ?? "", usage } };
}

function wanted({ transcription }: Parameters): Timestamps {
  return transcription?.timestamps || Timestamps.NONE;
}

/** A window, with what is heard in it. */
interface Hearing {
  pipe: Whispering;
  own: Own;
  inputs: object;
  prompt: number[];
  window: Window;
  transcript: Transcript;
}

/** What is said in the one window, told token by token. Returns its end. */
async function write(hearing: Hearing, input: Input<Float32Array>): Promise<number> {
  const { generated } = await make(hearing, input, {}, {});
  hearing.transcript.text = generated.text!;
  return hearing.window.seconds;
}

/** What is said in a window, and when, told segment by segment. Returns where the next window begins. */
async function hear(hearing: Hearing, parameters: Parameters): Promise<number> {
  const { pipe, prompt, window, transcript } = hearing;
  const { model, tokenizer, processor } = pipe;
  const { no_timestamps_token_id, eos_token_id } = model.generation_config;
  const precision =
    Number(processor.feature_extractor!.config.chunk_length) / (model.config.max_source_positions ?? 1500);
  const timestamps = wanted(parameters);
  const words = timestamps === Timestamps.WORDS;
  if (words && !tellsWords(model)) throw badInput("the model does not tell when words are said: ask for segments");
  const segments = (tokens: readonly bigint[]) => {
    const plain = tokens.map(Number).filter((token) => token !== eos_token_id);
    return segmentsOf(plain, no_timestamps_token_id + 1, precision);
  };
  let told = 0;
  const tell = (some: Segment[]) => {
    for (const segment of some.slice(told).filter(({ tokens }) => tokens.length > 0)) {
      const text = tokenizer.decode(segment.tokens, { skip_special_tokens: true });
      const chunk = { text: text.trim(), ...times(window, segment.begin, segment.end) };
      transcript.add(text, timestamps === Timestamps.SEGMENTS ? [chunk] : []);
    }
    told = some.length;
  };
  const made = await make(hearing, { parameters }, words ? alignment(processor, window) : {}, {
    rules: [new TimesProcessor(model.generation_config, prompt)],
    onProgress: (tokens) => tell(segments(tokens).filter(({ end }) => end !== undefined)),
  });
  const all = segments(made.tokens);
  const heard = window.last ? { segments: all, next: window.seconds } : cut(all, window.seconds);
  tell(heard.segments);
  if (words) {
    // What is left to the next window is not part of this one.
    const end = heard.segments.length < all.length ? all.at(-1)!.at : made.tokens.length;
    transcript.add("", wordsOf(tokenizer, made.output, prompt.length + end, precision, window));
  }
  return heard.next;
}

/** Has the model write. */
async function make(
  { pipe, own, inputs, prompt, transcript }: Hearing,
  input: Pick<Input<unknown>, "parameters" | "step">,
  settings: object,
  more: Pick<Making, "rules" | "onProgress">,
): Promise<Made> {
  const most = pipe.model.config.max_target_positions ?? 448;
  const made = await generate(pipe, input, own, {
    // The library's own way through long sound is not wanted.
    inputs: { ...inputs, ...settings, decoder_input_ids: prompt, return_timestamps: false },
    promptTokens: prompt.length,
    most,
    newTokens: most - prompt.length,
    ...more,
  });
  transcript.count(prompt.length, made);
  return made;
}

/** The features with what the encoder makes of them, so that it runs once for the language and the text. */
async function encoded(model: Whisper, features: Tensor): Promise<object> {
  const model_input_name = "input_features";
  const { encoder_outputs } = await model._prepare_encoder_decoder_kwargs_for_generation({
    inputs_tensor: features,
    model_inputs: { [model_input_name]: features },
    model_input_name,
    generation_config: { guidance_scale: null },
  });
  if (!model.forward_params.includes(ENCODED)) model.forward_params.push(ENCODED);
  return { [model_input_name]: features, [ENCODED]: encoder_outputs };
}

/** Whether a model was exported with what its decoder attends to, and says which of that tells of times. */
function tellsWords({ sessions, generation_config }: Whisper): boolean {
  const attends = Object.values(sessions).some(({ outputNames }) =>
    outputNames.some((name: string) => name.startsWith("cross_attentions")),
  );
  return attends && Boolean(generation_config.alignment_heads);
}

/** Has the library find out when each token was said. The encoder makes one frame of two. */
function alignment({ feature_extractor }: Pipe["processor"], { seconds }: Window): object {
  const { hop_length, sampling_rate } = feature_extractor!.config as Record<string, number>;
  const num_frames = Math.max(1, Math.floor((seconds * sampling_rate!) / hop_length! / 2));
  return { return_token_timestamps: true, num_frames };
}

/** The words of a window; only its first tokens, with the prompt's, count. */
function wordsOf(tokenizer: Words, output: unknown, end: number, time_precision: number, window: Window): Chunk[] {
  const { sequences, token_timestamps } = output as Record<string, Tensor>;
  const tokens = (sequences!.tolist() as bigint[][])[0]!.slice(0, end);
  const all = (token_timestamps!.tolist() as number[][])[0]!.slice(0, end);
  const token_times = all.map((time) => Math.round(time * 100) / 100);
  const [, { chunks }] = tokenizer._decode_asr(
    [{ stride: [0, 0, 0], tokens, token_timestamps: token_times, is_last: true }],
    { time_precision, return_timestamps: "word", force_full_sequences: false },
  );
  return chunks.map(({ text, timestamp: [begin, end] }) => ({ text: text.trim(), ...times(window, begin, end) }));
}

function times({ begin: offset }: Window, begin: number, end: number | null | undefined): Chunk {
  return { beginS: offset + begin, ...(typeof end === "number" && { endS: offset + end }) };
}
