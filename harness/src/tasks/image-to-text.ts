/** Image to text: a picture is described, or read. */
import type { RawImage, Tensor } from "@huggingface/transformers";
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import { fewTokens, generate, roomOf } from "./generation";
import { sampleImage } from "./inputs";
import { pictureOf, processed } from "./pictures";
import { task } from "./pipeline";
import { inTurn } from "./task";

export const openImageToText = task({
  parts: "image-to-text",
  batching: Batching.ALONE,
  sample: (pipe) => processed(pipe, sampleImage() as RawImage),
  sampleParameters: fewTokens,
  read: pictureOf,
  run: (pipe, inputs, own) =>
    inTurn<Tensor>(async (input) => {
      // The text begins with the token of its start alone.
      const making = { inputs: { inputs: input.read }, promptTokens: 1, most: roomOf(pipe.model) };
      const { generated } = await generate(pipe, input, own, making);
      return { case: "generated", value: { ...generated, text: generated.text!.trim() } };
    })(inputs),
});
