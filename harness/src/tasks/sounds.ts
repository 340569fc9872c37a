/** Sounds: what the tasks have in common that take sound. */
import type { Item } from "../gen/webinfer/v1/inference_pb";
import { badInput } from "../failure";
import { floatsOf, inputOf } from "./inputs";
import type { Pipe } from "./pipeline";

/** Seconds below which most models cannot make a single frame. */
const SHORTEST = 0.05;

/** Samples a second that the model takes. */
export function rateOf({ processor }: Pipe): number {
  return processor.feature_extractor?.config.sampling_rate ?? 16_000;
}

/** Samples that are heard at all. */
export function leastOf(pipe: Pipe): number {
  return Math.round(SHORTEST * rateOf(pipe));
}

/** The samples, at the rate of the model: the service has decoded them. */
export function soundOf(item: Item, pipe: Pipe): Float32Array<ArrayBuffer> {
  const { source } = inputOf(item, "audio");
  if (source.case !== "samples") throw badInput("the sound was not decoded");
  const sound = floatsOf(source.value);
  if (sound.length >= leastOf(pipe)) return sound;
  throw badInput(`the sound has ${sound.length} samples, which is too short to hear anything`);
}

/** A sound to warm up with. */
export function sampleSound(pipe: Pipe): Float32Array<ArrayBuffer> {
  return new Float32Array(rateOf(pipe)).map((_, at) => Math.sin(at / 20) / 2);
}
