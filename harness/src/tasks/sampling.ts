/**
 * Sampling: which tokens are drawn from.
 *
 * The library knows temperature and the k likeliest alone. In the order of Hugging Face's own: temperature, the k
 * likeliest, then the likeliest that together have the likelihood p (Holtzman et al., "The Curious Case of Neural Text
 * Degeneration", 2020).
 */
import { LogitsProcessor, type Tensor } from "@huggingface/transformers";
import { finite, greatest } from "./outputs";

export interface Sampling {
  temperature: number;
  /** 0 for all. */
  topK: number;
  /** 1 for all. */
  topP: number;
}

/** Divides the logits, and takes those out of the draw that are not among the likeliest. In place. */
export function shape(logits: Float32Array, { temperature, topK, topP }: Sampling): void {
  for (let at = 0; at < logits.length; at++) logits[at]! /= temperature;
  if (topK <= 0 && topP >= 1) return;
  const most = logits.reduce((most, logit) => Math.max(most, logit), -Infinity);
  const power = (logit: number) => Math.exp(logit - most);
  let kept = topK > 0 ? greatest(logits, topK) : large(logits, power, topP);
  if (topP < 1) kept = kept.slice(0, nucleus(kept, topP * sumOf(topK > 0 ? kept.map(valueOf) : logits, power), power));
  logits.fill(-Infinity);
  for (const [at, logit] of kept) logits[at] = logit;
}

type Ranked = [at: number, logit: number];
const valueOf = ([, logit]: Ranked) => logit;

function sumOf(logits: Iterable<number>, power: (logit: number) => number): number {
  let sum = 0;
  for (const logit of logits) sum += power(logit);
  return sum;
}

/** How many of the likeliest together have a sum. */
function nucleus(ranked: Ranked[], wanted: number, power: (logit: number) => number): number {
  let sum = 0;
  const last = ranked.findIndex(([, logit]) => (sum += power(logit)) >= wanted);
  return last < 0 ? ranked.length : last + 1;
}

/**
 * The logits in their order, the greatest first, without those that no p reaches: all that are this small have less than
 * 1 - p together. To sort a whole vocabulary takes longer than many a model for its token.
 */
function large(logits: Float32Array, power: (logit: number) => number, topP: number): Ranked[] {
  const least = ((1 - topP) * sumOf(logits, power)) / logits.length;
  const large: Ranked[] = [];
  logits.forEach((logit, at) => power(logit) >= least && large.push([at, logit]));
  return large.sort(([, left], [, right]) => right - left);
}

/** The same as a step of the library's generation. */
export class SamplingProcessor extends LogitsProcessor {
  constructor(readonly sampling: Sampling) {
    super();
  }

  override _call(_tokens: bigint[][], logits: Tensor): Tensor {
    shape(logits.data as Float32Array, this.sampling);
    return logits;
  }
}

/** Refuses logits that no model means: from these, anything would be made. */
export class FiniteProcessor extends LogitsProcessor {
  override _call(_tokens: bigint[][], logits: Tensor): Tensor {
    let sum = 0;
    // What other steps forbid is infinitely unlikely. Only what is not a number stays so through all additions.
    for (const logit of logits.data as Float32Array) sum += logit === -Infinity ? 0 : logit;
    finite(sum, "a logit");
    return logits;
  }
}
