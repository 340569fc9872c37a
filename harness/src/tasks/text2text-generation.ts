/** Text to text: what the library calls text2text-generation, summarization and translation. */
import type { PipelineType, Tensor } from "@huggingface/transformers";
import { create } from "@bufbuild/protobuf";
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import { type Parameters, ParametersSchema, TranslationSchema } from "../gen/webinfer/v1/inference_pb";
import { badInput } from "../failure";
import { roomOf, countTokens, fewTokens, generate } from "./generation";
import { SAMPLE_TEXT, textOf } from "./inputs";
import { checkLanguage } from "./languages";
import { type Config, type Pipe, task } from "./pipeline";
import { inTurn } from "./task";

type Name = Extract<PipelineType, "text2text-generation" | "summarization" | "translation">;

export const openText2TextGeneration = textToText("text2text-generation");
export const openSummarization = textToText("summarization");
export const openTranslation = textToText("translation");

function textToText(name: Name) {
  return task<string>({
    parts: name,
    batching: Batching.ALONE,
    sample: () => SAMPLE_TEXT,
    sampleParameters: sampleLanguages,
    read: textOf,
    run: (pipe, inputs, own) =>
      inTurn<string>(async (input) => {
        const text = prefix(name, pipe.model.config) + input.read;
        const inputs = tokens(pipe, text, input.parameters);
        const promptTokens = countTokens(inputs);
        const most = roomOf(pipe.model);
        if (most !== undefined && promptTokens > most)
          throw badInput(`the text has ${promptTokens} tokens, and the model takes ${most}`);
        const { generated } = await generate(pipe, input, own, { inputs, promptTokens });
        return { case: "generated", value: generated };
      })(inputs),
  });
}

/** What some models were trained to see in front of the text. */
function prefix(name: Name, { prefix, task_specific_params }: Config): string {
  return (task_specific_params?.[name]?.prefix ?? "") + (prefix ?? "");
}

/** A tokenizer of a model that knows several languages. */
interface Translates {
  language_codes: string[];
  _build_translation_inputs(texts: string[], options: object, languages: object): Record<string, Tensor>;
}

function translates(tokenizer: Pipe["tokenizer"]): Translates | undefined {
  return "_build_translation_inputs" in tokenizer ? (tokenizer as unknown as Translates) : undefined;
}

function tokens({ tokenizer }: Pipe, text: string, { translation }: Parameters): Record<string, Tensor> {
  const { sourceLanguage, targetLanguage } = translation ?? {};
  const several = translates(tokenizer);
  if (!several) {
    if (sourceLanguage || targetLanguage) throw badInput("the model knows one pair of languages: name none");
    return tokenizer([text]) as Record<string, Tensor>;
  }
  // Without one, the library would go on with that of the last text.
  if (!sourceLanguage || !targetLanguage) throw badInput("the model knows several languages: name both");
  for (const language of [sourceLanguage, targetLanguage]) checkLanguage(language, several.language_codes);
  const languages = { src_lang: sourceLanguage, tgt_lang: targetLanguage };
  // It adds to the languages which token the output begins with.
  return { ...several._build_translation_inputs([text], {}, languages), ...(languages as object) };
}

function sampleLanguages({ tokenizer }: Pipe): Parameters {
  const few = fewTokens();
  const [sourceLanguage, targetLanguage] = translates(tokenizer)?.language_codes ?? [];
  if (!sourceLanguage || !targetLanguage) return few;
  return create(ParametersSchema, {
    ...few,
    translation: create(TranslationSchema, { sourceLanguage, targetLanguage }),
  });
}
