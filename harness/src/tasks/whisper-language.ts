/** Whisper language: what is spoken, where the request does not say, and the prompt that tells the model. */
import { badInput } from "../failure";
import type { Parameters } from "../gen/webinfer/v1/inference_pb";
import { checkLanguage } from "./languages";
import type { Model } from "./pipeline";
import { Only, type Times } from "./whisper-rules";

/** What of the library's model is used besides. */
export type Whisper = Model & {
  generation_config: Times & {
    decoder_start_token_id: number;
    is_multilingual?: boolean;
    /** Tokens of the languages, such as "<|de|>". */
    lang_to_id?: Record<string, number>;
  };
  forward_params: string[];
  _retrieve_init_tokens(config: object): number[];
  _prepare_encoder_decoder_kwargs_for_generation(options: object): Promise<{ encoder_outputs: object }>;
};

/** The code of the language that was asked for; nothing where it is to be found out, or the model knows English alone. */
export function languageOf(model: Whisper, { transcription }: Parameters): string | undefined {
  const { language, translate } = transcription ?? {};
  if (!model.generation_config.is_multilingual) {
    if (language || translate) throw badInput("the model knows English alone: name no language, and no translation");
    return undefined;
  }
  const known = Object.keys(model.generation_config.lang_to_id ?? {}).map(codeOf);
  if (!language) return known.length === 1 ? known[0] : undefined;
  const code = toCode(model, language) ?? language;
  checkLanguage(code, known);
  return code;
}

/** The library knows the languages' names. */
function toCode(model: Whisper, language: string): string | undefined {
  const ids = model.generation_config.lang_to_id ?? {};
  try {
    const [, id] = model._retrieve_init_tokens({ ...model.generation_config, language });
    const token = Object.keys(ids).find((token) => ids[token] === id);
    return token && codeOf(token);
  } catch {
    // It has words of its own for that, which list all that any Whisper knows.
    return undefined;
  }
}

function codeOf(token: string): string {
  return token.replace(/^<\||\|>$/g, "");
}

/** The likeliest language: the one token that follows the start (Radford et al., 2022, section 2.3). */
export async function detect(model: Whisper, inputs: object): Promise<string | undefined> {
  const { is_multilingual, lang_to_id, decoder_start_token_id } = model.generation_config;
  if (!is_multilingual || !lang_to_id) return undefined;
  const made = await model.generate({
    ...inputs,
    decoder_input_ids: [decoder_start_token_id],
    max_new_tokens: 1,
    do_sample: false,
    return_timestamps: false,
    logits_processor: [new Only(Object.values(lang_to_id))],
  });
  const id = Number((made.tolist() as bigint[][])[0]!.at(-1));
  const token = Object.keys(lang_to_id).find((token) => lang_to_id[token] === id);
  return token && codeOf(token);
}

/** The tokens that the text begins with: language, what is to be done, and whether times are told. */
export function promptOf(
  model: Whisper,
  language: string | undefined,
  { transcription }: Parameters,
  return_timestamps: boolean,
): number[] {
  const settings = model.generation_config.is_multilingual
    ? { language, task: transcription?.translate ? "translate" : "transcribe" }
    : { language: null, task: null };
  return model._retrieve_init_tokens({ ...model.generation_config, ...settings, return_timestamps });
}
