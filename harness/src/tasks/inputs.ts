/** Inputs: what an item of each kind holds, decoded. */
import { RawImage } from "@huggingface/transformers";
import type { Image, Item, Question } from "../gen/webinfer/v1/inference_pb";
import { badInput, describe, unread } from "../failure";
import { imageFrom } from "./pixels";

export type InputKind = NonNullable<Item["input"]["case"]>;
type Value<Kind extends InputKind> = Extract<Item["input"], { case: Kind }>["value"];

/** The input of a kind, or a Failure that names what came. */
export function inputOf<Kind extends InputKind>({ input }: Item, kind: Kind): Value<Kind> {
  if (input.case === kind) return input.value as Value<Kind>;
  throw badInput(`expected ${NAMES[kind]}, got ${input.case ? NAMES[input.case] : "nothing"}`);
}

const NAMES: Record<InputKind, string> = {
  text: "a text",
  tensors: "tensors",
  image: "an image",
  audio: "audio",
  question: "a question",
  query: "a query",
  chat: "a chat",
};

export function textOf(item: Item): string {
  return inputOf(item, "text");
}

export function imageOf(item: Item): Promise<RawImage> {
  return decode(inputOf(item, "image"));
}

/** The browser decodes what came encoded, on a thread of its own. */
export async function decode({ source }: Image): Promise<RawImage> {
  switch (source.case) {
    case "pixels": {
      const { data, width, height, channels } = source.value;
      const pixels = new Uint8ClampedArray(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
      return new RawImage(pixels, width, height, channels as 1 | 3 | 4);
    }
    case "encoded":
      try {
        return await imageFrom(source.value as Uint8Array<ArrayBuffer>);
      } catch (error) {
        throw unread(error, `the image could not be decoded: ${describe(error)}`);
      }
    default:
      throw badInput("the image has no source");
  }
}

/** Numbers that came as bytes. */
export function floatsOf({ data }: { data: Uint8Array }): Float32Array<ArrayBuffer> {
  // A view has to begin at a multiple of four, which the bytes of a frame do by chance alone.
  return new Float32Array(data.slice().buffer as ArrayBuffer);
}

/** The text that a question is about. */
export function contextOf({ source }: Question): string {
  if (source.case === "context") return source.value;
  throw badInput(`expected a question with a context, got one with ${source.case ?? "nothing"}`);
}

/** The picture that a question is about. */
export function documentOf({ source }: Question): Image {
  if (source.case === "document") return source.value;
  throw badInput(`expected a question with a document, got one with ${source.case ?? "nothing"}`);
}

/** A picture to warm up with: the runtime's kernels depend on its size after processing alone. */
export function sampleImage(): RawImage {
  return new RawImage(
    new Uint8ClampedArray(64 * 64 * 3).map((_, at) => (at * 37) % 256),
    64,
    64,
    3,
  );
}

export const SAMPLE_TEXT = "A replica runs once before it serves.";
