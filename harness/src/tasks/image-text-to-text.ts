/** Image and text to text: a model goes on with a conversation that has pictures in it. */
import {
  AutoModelForImageTextToText,
  AutoProcessor,
  AutoTokenizer,
  Florence2Processor,
  Lfm2VlProcessor,
  LlavaProcessor,
  PaliGemmaProcessor,
  PixtralProcessor,
  type RawImage,
  type Tensor,
} from "@huggingface/transformers";
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import type { Image } from "../gen/webinfer/v1/inference_pb";
import { badInput, describe } from "../failure";
import { countTokens, fewTokens, generate, roomOf } from "./generation";
import { decode, inputOf, sampleImage } from "./inputs";
import { type Options, type Pipe, task } from "./pipeline";
import { inTurn } from "./task";

interface Message {
  role: string;
  content: ({ type: "text"; text: string } | { type: "image" })[];
}

/** A conversation, and its pictures in their order. */
interface Talk {
  messages: Message[];
  images: RawImage[];
}

/** Processors that put one picture alone in the place of its mark. */
const ONE_IMAGE = [Florence2Processor, LlavaProcessor, PixtralProcessor];
/** Processors that take the pictures before the text. */
const IMAGES_FIRST = [...ONE_IMAGE, Lfm2VlProcessor, PaliGemmaProcessor];

interface Templated {
  chat_template?: unknown;
  apply_chat_template(messages: Message[], options: object): string;
}

export const openImageTextToText = task<Talk>({
  parts: open,
  batching: Batching.ALONE,
  sample: () => ({
    messages: [{ role: "user", content: [{ type: "image" }, { type: "text", text: "What is it?" }] }],
    images: [sampleImage()],
  }),
  sampleParameters: fewTokens,
  read: async (item) => {
    const images: Image[] = [];
    const messages = inputOf(item, "chat").messages.map(({ role, parts }) => ({
      role,
      content: parts.map(({ part }): Message["content"][number] => {
        if (part.case === "text") return { type: "text", text: part.value };
        if (part.case !== "image") throw badInput("a part of the chat is empty");
        images.push(part.value);
        return { type: "image" };
      }),
    }));
    return { messages, images: await Promise.all(images.map(decode)) };
  },
  run: (pipe, inputs, own) =>
    inTurn<Talk>(async (input) => {
      const tokens = await prepared(pipe, input.read);
      const making = {
        inputs: tokens,
        promptTokens: countTokens(tokens),
        most: roomOf(pipe.model),
        ...(pipe.processor instanceof Florence2Processor && { decode: decodeMarks(pipe) }),
      };
      const { generated } = await generate(pipe, input, own, making);
      return { case: "generated", value: generated };
    })(inputs),
});

async function open(name: string, options: Options): Promise<Pipe> {
  const [processor, model] = await Promise.all([
    AutoProcessor.from_pretrained(name),
    AutoModelForImageTextToText.from_pretrained(name, options as object),
  ]);
  const tokenizer = processor.tokenizer ?? (await AutoTokenizer.from_pretrained(name));
  return { processor, model, tokenizer } as unknown as Pipe;
}

async function prepared({ processor, tokenizer }: Pipe, { messages, images }: Talk): Promise<Record<string, Tensor>> {
  const text = promptOf((processor.chat_template ? processor : tokenizer) as Templated, messages);
  // Most processors do not go without a picture.
  if (images.length === 0) return tokenizer([text]);
  if (images.length > 1 && ONE_IMAGE.some((kind) => processor instanceof kind))
    throw badInput(`the model takes one picture, and the chat has ${images.length}`);
  if (IMAGES_FIRST.some((kind) => processor instanceof kind)) return processor(images, text);
  if (processor.tokenizer) return processor(text, images);
  return { ...tokenizer([text]), ...(await processor(images)) };
}

function promptOf(templated: Templated, messages: Message[]): string {
  if (!templated.chat_template) {
    // A model without a template takes one text, which may stand for a task of its own.
    const parts = messages.flatMap(({ content }) => content);
    return parts.map((part) => (part.type === "text" ? part.text : "")).join("");
  }
  try {
    return templated.apply_chat_template(messages, { tokenize: false, add_generation_prompt: true });
  } catch (error) {
    throw badInput(`the model's template does not take this chat: ${describe(error)}`);
  }
}

/** Florence's places are marks of its own, and a part of its text. */
function decodeMarks({ tokenizer }: Pipe): (tokens: bigint[]) => string {
  return (tokens) => tokenizer.decode(tokens).replace(/<\/?s>|<pad>/g, "");
}
