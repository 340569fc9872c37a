/** Inputs: what can be given to a model, and the message that each becomes. */

import { create, isMessage } from "@bufbuild/protobuf";
import { InvalidInput } from "./errors.js";
import {
  AudioSchema,
  ChatSchema,
  ImageSchema,
  ItemSchema,
  QuestionSchema,
  type Audio as AudioMessage,
  type Image as ImageMessage,
  type Item,
} from "./gen/webinfer/v1/inference_pb.js";
import { toMessage, type Tensor } from "./tensors.js";

/** A file: its bytes. */
export type FileLike = Uint8Array | ArrayBuffer | Blob;

/** Pixels, as a canvas has them, or with another number of channels: 1 for grey, 3 for colours, 4 with alpha. */
export interface Pixels {
  width: number;
  height: number;
  /** 1, 3 or 4; 4 where it is not given. */
  channels?: number;
  data: Uint8Array | Uint8ClampedArray;
}

/** A PNG, JPEG, WebP or GIF file, or pixels. */
export type ImageLike = FileLike | Pixels;

/** Samples of one channel, from -1 to 1, and how many a second. */
export interface Samples {
  samples: Float32Array;
  rate: number;
}

/** A message of a conversation: who says it, and a text, or texts and pictures. */
export interface Message {
  role: string;
  content: string | (string | { image: ImageLike })[];
}

/**
 * What one item can be: a text; tensors by their names; a picture; sound (a WAV, FLAC, MP3 or Ogg Vorbis file, or samples);
 * a question with the context or the document that has the answer; a query with documents to rank; a conversation, where a
 * text is what a user says; or the message itself.
 */
export type Input =
  | string
  | { tensors: Record<string, Tensor> }
  | { image: ImageLike }
  | { audio: FileLike | Samples }
  | { question: string; context: string }
  | { question: string; document: ImageLike }
  | { query: string; documents: string[] }
  | { chat: string | Message[] }
  | Item;

/** The message of one input. */
export async function toItem(input: Input): Promise<Item> {
  if (typeof input === "string") {
    return create(ItemSchema, { input: { case: "text", value: input } });
  }
  if (typeof input !== "object" || input === null) {
    throw unknown(input);
  }
  if (isMessage(input, ItemSchema)) {
    return input;
  }
  if ("tensors" in input) {
    const tensors = Object.entries(input.tensors ?? {}).map(([name, tensor]) => [name, toMessage(tensor)]);
    return create(ItemSchema, { input: { case: "tensors", value: { tensors: Object.fromEntries(tensors) } } });
  }
  if ("image" in input) {
    return create(ItemSchema, { input: { case: "image", value: await image(input.image) } });
  }
  if ("audio" in input) {
    return create(ItemSchema, { input: { case: "audio", value: await audio(input.audio) } });
  }
  if ("question" in input) {
    const source =
      "document" in input
        ? ({ case: "document", value: await image(input.document) } as const)
        : ({ case: "context", value: input.context } as const);
    requireTexts("a question and its context", input.question, ...("context" in input ? [input.context] : []));
    const question = create(QuestionSchema, { text: input.question, source });
    return create(ItemSchema, { input: { case: "question", value: question } });
  }
  if ("query" in input) {
    requireTexts("a query and its documents", input.query, ...(Array.isArray(input.documents) ? input.documents : [0]));
    return create(ItemSchema, {
      input: { case: "query", value: { text: input.query, documents: input.documents } },
    });
  }
  if ("chat" in input) {
    return create(ItemSchema, { input: { case: "chat", value: await chat(input.chat) } });
  }
  throw unknown(input);
}

function requireTexts(what: string, ...values: unknown[]): void {
  if (!values.every((value) => typeof value === "string")) {
    throw new InvalidInput(`${what} are texts`);
  }
}

function unknown(input: unknown): InvalidInput {
  const what = input === null ? "null" : typeof input === "object" ? `{${Object.keys(input)}}` : typeof input;
  return new InvalidInput(
    `${what} is no input; give a string, or an object with tensors, image, audio, question, query or chat`,
  );
}

async function bytes(file: FileLike): Promise<Uint8Array<ArrayBuffer> | undefined> {
  if (file instanceof Uint8Array) {
    return file as Uint8Array<ArrayBuffer>;
  }
  if (file instanceof ArrayBuffer) {
    return new Uint8Array(file);
  }
  return file instanceof Blob ? new Uint8Array(await file.arrayBuffer()) : undefined;
}

async function image(source: ImageLike): Promise<ImageMessage> {
  const encoded = await bytes(source as FileLike);
  if (encoded) {
    return create(ImageSchema, { source: { case: "encoded", value: encoded } });
  }
  const { width, height, channels = 4, data } = (source ?? {}) as Partial<Pixels>;
  if (!data || !width || !height) {
    throw new InvalidInput("a picture is the bytes of a file, a Blob, or { width, height, channels, data }");
  }
  if (data.length !== width * height * channels) {
    throw new InvalidInput(
      `${width} x ${height} pixels of ${channels} channels have ${width * height * channels} bytes, not ${data.length}`,
    );
  }
  const value = { width, height, channels, data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
  return create(ImageSchema, { source: { case: "pixels", value } });
}

async function audio(source: FileLike | Samples): Promise<AudioMessage> {
  const encoded = await bytes(source as FileLike);
  if (encoded) {
    return create(AudioSchema, { source: { case: "encoded", value: encoded } });
  }
  const { samples, rate } = (source ?? {}) as Partial<Samples>;
  if (!(samples instanceof Float32Array) || !rate) {
    throw new InvalidInput("sound is the bytes of a file, a Blob, or { samples: Float32Array, rate }");
  }
  const data = new Uint8Array(samples.buffer as ArrayBuffer, samples.byteOffset, samples.byteLength);
  return create(AudioSchema, { source: { case: "samples", value: { rate, data } } });
}

function isMessageOfChat(message: unknown): boolean {
  const { role, content } = (message ?? {}) as Partial<Message>;
  return typeof role === "string" && (typeof content === "string" || Array.isArray(content));
}

async function chat(said: string | Message[]) {
  const messages = typeof said === "string" ? [{ role: "user", content: said }] : said;
  if (!Array.isArray(messages) || !messages.every(isMessageOfChat)) {
    throw new InvalidInput("a chat is a text, or a list of { role, content }, where content is a text or a list");
  }
  return create(ChatSchema, {
    messages: await Promise.all(
      messages.map(async ({ role, content }: Message) => ({
        role,
        parts: await Promise.all(
          (typeof content === "string" ? [content] : content).map(async (part) =>
            typeof part === "string"
              ? { part: { case: "text" as const, value: part } }
              : { part: { case: "image" as const, value: await image(part.image) } },
          ),
        ),
      })),
    ),
  });
}
