/** Sounds: what the tasks have in common that take sound. */
import type { Pipe } from "./pipeline";

/** Samples a second that the model takes. */
export function rateOf({ processor }: Pipe): number {
  return processor.feature_extractor?.config.sampling_rate ?? 16_000;
}
