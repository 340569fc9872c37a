/** Text generation: a model goes on with a text, or with a conversation. */
import type { Tensor } from "@huggingface/transformers";
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import type { Chat, Item } from "../gen/webinfer/v1/inference_pb";
import { badInput, describe } from "../failure";
import { roomOf, countTokens, fewTokens, generate } from "./generation";
import { inputOf, SAMPLE_TEXT } from "./inputs";
import { type Pipe, task } from "./pipeline";
import { inTurn } from "./task";

/** A prompt, and whether a template made it, which puts the special tokens in itself. */
interface Prompt {
  text: string;
  templated: boolean;
}

export const openTextGeneration = task<Prompt>({
  parts: "text-generation",
  batching: Batching.ALONE,
  sample: () => ({ text: SAMPLE_TEXT, templated: false }),
  sampleParameters: fewTokens,
  read: promptOf,
  run: (pipe, inputs, own) =>
    inTurn<Prompt>(async (input) => {
      const { model, tokenizer } = pipe;
      const { text, templated } = input.read;
      const { add_bos_token, add_eos_token } = tokenizer as unknown as Record<string, boolean | undefined>;
      const add_special_tokens = !templated && (add_bos_token ?? add_eos_token ?? false);
      const inputs = tokenizer([text], { add_special_tokens }) as Record<string, Tensor>;
      const promptTokens = countTokens(inputs);
      if (promptTokens === 0) throw badInput("the prompt is empty");
      const full = input.parameters.generation?.returnFullText ?? false;
      if (full && templated) throw badInput("return_full_text is for a text, and this is a chat");
      const making = { inputs, promptTokens, most: roomOf(model), before: full ? text : "" };
      const { generated } = await generate(pipe, input, own, making);
      return { case: "generated", value: generated };
    })(inputs),
});

function promptOf(item: Item, { tokenizer }: Pipe): Prompt {
  if (item.input.case !== "chat") return { text: inputOf(item, "text"), templated: false };
  return { text: template(tokenizer, item.input.value), templated: true };
}

function template(tokenizer: Pipe["tokenizer"], { messages }: Chat): string {
  const texts = messages.map(({ role, parts }) => {
    const content = parts.map(({ part }) => {
      if (part.case === "text") return part.value;
      throw badInput("the model takes text alone, and the chat has an image");
    });
    return { role, content: content.join("") };
  });
  try {
    return tokenizer.apply_chat_template(texts, { tokenize: false, add_generation_prompt: true }) as string;
  } catch (error) {
    throw badInput(`the model's template does not take this chat: ${describe(error)}`);
  }
}
