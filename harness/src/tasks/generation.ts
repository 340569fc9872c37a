/** Generation: how the tasks make text that do so token by token. One prompt at a time: each is told as it grows. */
import {
  type DynamicCache,
  type LogitsProcessor,
  random,
  StoppingCriteria,
  type Tensor,
} from "@huggingface/transformers";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  FinishReason,
  type GeneratedSchema,
  type Generation,
  type Parameters,
  ParametersSchema,
} from "../gen/webinfer/v1/inference_pb";
import { badInput } from "../failure";
import type { Config, Own, Pipe } from "./pipeline";
import { type OnProgress, Progress } from "./progress";
import { FiniteProcessor, SamplingProcessor } from "./sampling";
import { Stops, Told } from "./stops";
import type { Input } from "./task";

/** Most tokens that are made where nothing is said, as in the library's pipelines. */
const MAX_NEW_TOKENS = 256;

/** With what such a task warms up. */
export function fewTokens(): Parameters {
  return create(ParametersSchema, { generation: { maxNewTokens: 2 } });
}

/** What is to be made. */
export interface Making {
  /** Inputs of the model's own `generate`. */
  inputs: object;
  /** Tokens of the prompt. */
  promptTokens: number;
  /** Tokens that the model can have in all, prompt and what is made; nothing where it has no bound. */
  most?: number | undefined;
  /** Tokens to make where nothing is said. */
  newTokens?: number;
  /** Begins the text. */
  before?: string;
  /** The text of tokens, where the model's own marks are a part of it. */
  decode?: (tokens: bigint[]) => string;
  /** Rules of the model's own for the next token. */
  rules?: LogitsProcessor[];
  /** Stands in for what tells of the text. */
  onProgress?: OnProgress;
}

export interface Made {
  generated: MessageInitShape<typeof GeneratedSchema>;
  /** The tokens that were made. */
  tokens: bigint[];
  /** Microseconds to the first of them. */
  firstTokenUs: bigint;
  /** What the library gave. */
  output: unknown;
}

/** Makes text. */
export async function generate(
  { model, tokenizer }: Pick<Pipe, "model" | "tokenizer">,
  { parameters: { generation }, step }: Pick<Input<unknown>, "parameters" | "step">,
  { clock }: Own,
  making: Making,
): Promise<Made> {
  const limit = mostTokens(generation, making);
  const stops = new Stops(generation?.stop ?? []);
  const told = new Told(step && ((text) => step({ text })));
  const before = making.before ?? "";
  const decode = making.decode ?? ((tokens: bigint[]) => tokenizer.decode(tokens, { skip_special_tokens: true }));
  let firstToken: number | undefined;
  let cut = -1;
  const tell: OnProgress = (_, text) => {
    if (cut < 0) told.upTo(before + text, stops.hold);
  };
  const progress = new Progress(decode, (tokens, text) => {
    firstToken ??= clock.elapsed();
    cut = stops.find(text);
    (making.onProgress ?? tell)(tokens, text);
  });
  // Draws that were made repeatable for one call must not be so for the next.
  random.seed(generation?.seed);
  const options = {
    ...making.inputs,
    ...settings(generation, model.generation_config ?? {}, making.rules ?? []),
    max_new_tokens: limit,
    streamer: progress,
    stopping_criteria: new Ended(() => cut >= 0),
  };
  const output = await model.generate(options).catch(async (error: unknown) => {
    await clock.giveBack();
    throw error;
  });
  // The library keeps it for a next call where it gives more than tokens.
  await (output as { past_key_values?: DynamicCache }).past_key_values?.dispose();
  const { tokens } = progress;
  const whole = progress.text();
  const text = before + (cut < 0 ? whole : whole.slice(0, cut));
  if (!making.onProgress) told.all(text);
  const firstTokenUs = BigInt(Math.round((firstToken ?? 0) * 1000));
  const ended = tokens.length < limit || endTokens(model.generation_config ?? {}).has(tokens.at(-1) ?? -1n);
  return {
    tokens,
    firstTokenUs,
    output,
    generated: {
      text,
      finishReason: cut >= 0 ? FinishReason.STOP_TEXT : ended ? FinishReason.STOP : FinishReason.LENGTH,
      usage: { promptTokens: making.promptTokens, generatedTokens: tokens.length, firstTokenUs },
    },
  };
}

/** Tokens that a model has room for; nothing where that has no bound. */
export function roomOf({ config }: Pick<Pipe["model"], "config">): number | undefined {
  const own = (part: Config | undefined) => part?.max_position_embeddings ?? part?.n_positions;
  return own(config) ?? own(config.text_config) ?? own(config.decoder);
}

/** The tokens of a tokenizer's output, and how many they are. */
export function countTokens(inputs: Record<string, Tensor>): number {
  return inputs.input_ids?.dims.at(-1) ?? 0;
}

function mostTokens(generation: Generation | undefined, { promptTokens, most, newTokens }: Making): number {
  const wanted = generation?.maxNewTokens ?? newTokens ?? MAX_NEW_TOKENS;
  if (most === undefined) return wanted;
  if (promptTokens >= most)
    throw badInput(`the prompt has ${promptTokens} tokens, and the model has room for ${most} with those it makes`);
  return Math.min(wanted, most - promptTokens);
}

function settings(
  generation: Generation | undefined,
  defaults: Record<string, unknown>,
  rules: LogitsProcessor[],
): object {
  const { doSample, temperature, topK, topP, repetitionPenalty, noRepeatNgramSize } = generation ?? {};
  const number = (value: number | undefined, name: string, other: number) => {
    const known = defaults[name];
    return value ?? (typeof known === "number" ? known : other);
  };
  const sampling = {
    temperature: number(temperature, "temperature", 1),
    topK: number(topK, "top_k", 50),
    topP: number(topP, "top_p", 1),
  };
  // Some models say so for the likeliest token.
  const draws = (doSample ?? defaults.do_sample === true) && sampling.temperature > 0;
  return {
    // The last of the steps draws.
    do_sample: false,
    logits_processor: [new FiniteProcessor(), ...rules, ...(draws ? [new SamplingProcessor(sampling)] : [])],
    ...(repetitionPenalty !== undefined && { repetition_penalty: repetitionPenalty }),
    ...(noRepeatNgramSize !== undefined && { no_repeat_ngram_size: noRepeatNgramSize }),
  };
}

function endTokens({ eos_token_id }: Record<string, unknown>): Set<bigint> {
  const ids = Array.isArray(eos_token_id) ? eos_token_id : [eos_token_id];
  return new Set(ids.filter((id): id is number => typeof id === "number").map(BigInt));
}

/** Ends the generation once it is to end. */
class Ended extends StoppingCriteria {
  constructor(readonly ended: () => boolean) {
    super();
  }

  override _call(tokens: number[][]): boolean[] {
    return tokens.map(() => this.ended());
  }
}
