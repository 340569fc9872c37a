/** Document question answering: what a picture of a document answers. Donut models write it between marks of their own. */
import type { Tensor } from "@huggingface/transformers";
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import { countTokens, fewTokens, generate, roomOf } from "./generation";
import { decode, documentOf, inputOf, sampleImage } from "./inputs";
import { processed } from "./pictures";
import { task } from "./pipeline";
import { inTurn } from "./task";

interface Asked {
  question: string;
  pixels: Tensor;
}

const END = "</s_answer>";

export const openDocumentQuestionAnswering = task<Asked>({
  parts: "document-question-answering",
  batching: Batching.ALONE,
  sample: async (pipe) => ({ question: "What runs?", pixels: await processed(pipe, sampleImage()) }),
  sampleParameters: fewTokens,
  read: async (item, pipe) => {
    const question = inputOf(item, "question");
    return { question: question.text, pixels: await processed(pipe, await decode(documentOf(question))) };
  },
  run: (pipe, inputs, own) =>
    inTurn<Asked>(async ({ read: { question, pixels }, parameters }) => {
      const prompt = `<s_docvqa><s_question>${question}</s_question><s_answer>`;
      const tokens = pipe.tokenizer(prompt, { add_special_tokens: false }) as Record<string, Tensor>;
      const making = {
        inputs: { inputs: pixels, decoder_input_ids: tokens.input_ids },
        promptTokens: countTokens(tokens),
        most: roomOf(pipe.model),
        // The marks are tokens of their own.
        decode: (tokens: bigint[]) => pipe.tokenizer.decode(tokens),
      };
      const { generated } = await generate(pipe, { parameters }, own, making);
      const end = (generated.text ?? "").indexOf(END);
      const answers = end < 0 ? [] : [{ text: generated.text!.slice(0, end).trim() }];
      return { case: "answers", value: { answers } };
    })(inputs),
});
