/** Text to text: what the library calls text2text-generation, summarization and translation. */
import type { PipelineType, Tensor } from "@huggingface/transformers";
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import type { Parameters } from "../gen/webinfer/v1/inference_pb";
import { badInput, describe } from "../failure";
import { roomOf, countTokens, FEW_TOKENS, generate } from "./generation";
import { SAMPLE_TEXT, textOf } from "./inputs";
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
    sampleParameters: FEW_TOKENS,
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

interface Translates {
  _build_translation_inputs?(texts: string[], options: object, languages: object): Record<string, Tensor>;
}

function tokens({ tokenizer }: Pipe, text: string, { translation }: Parameters): Record<string, Tensor> {
  const { sourceLanguage, targetLanguage } = translation ?? {};
  const build = (tokenizer as Translates)._build_translation_inputs?.bind(tokenizer);
  if (!build) {
    if (sourceLanguage || targetLanguage) throw badInput("the model knows one pair of languages: name none");
    return tokenizer([text]) as Record<string, Tensor>;
  }
  const languages = {
    ...(sourceLanguage && { src_lang: sourceLanguage }),
    ...(targetLanguage && { tgt_lang: targetLanguage }),
  };
  try {
    // It adds to the languages which token the output begins with.
    return { ...build([text], {}, languages), ...(languages as object) };
  } catch (error) {
    throw badInput(describe(error));
  }
}
