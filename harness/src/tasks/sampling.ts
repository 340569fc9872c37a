/**
 * Sampling: which token is drawn.
 *
 * The library knows temperature and the k likeliest alone, and has the runtime sort them. In the order of Hugging Face's
 * own: temperature, the k likeliest, then the likeliest that together have the likelihood p (Holtzman et al., "The Curious
 * Case of Neural Text Degeneration", 2020).
 */
import { LogitsProcessor, random, type Tensor } from "@huggingface/transformers";
import { finite, greatest } from "./outputs";

export interface Sampling {
  temperature: number;
  /** 0 for all. */
  topK: number;
  /** 1 for all. */
  topP: number;
}

/** A token with how likely it is, as part of the likeliest one's. */
type Ranked = [token: number, power: number];

/** The tokens to draw from. */
export function likeliest(logits: Float32Array, { temperature, topK, topP }: Sampling): Ranked[] {
  const most = logits.reduce((most, logit) => Math.max(most, logit), -Infinity);
  const power = (logit: number) => Math.exp((logit - most) / temperature);
  if (topK <= 0 && topP >= 1) return Array.from(logits, (logit, token) => [token, power(logit)]);
  const kept: Ranked[] =
    topK > 0 ? greatest(logits, topK).map(([token, logit]) => [token, power(logit)]) : large(logits, power, topP);
  if (topP >= 1) return kept;
  const wanted = topP * (topK > 0 ? sumOf(kept.map(([, power]) => power)) : sumOf(Array.from(logits, power)));
  let sum = 0;
  const last = kept.findIndex(([, power]) => (sum += power) >= wanted);
  return last < 0 ? kept : kept.slice(0, last + 1);
}

/**
 * The tokens in their order without those that no p reaches: all that are this unlikely have less than 1 - p together. To
 * sort a whole vocabulary takes longer than many a model for its token.
 */
function large(logits: Float32Array, power: (logit: number) => number, topP: number): Ranked[] {
  const powers = Float64Array.from(logits, power);
  const least = ((1 - topP) * sumOf(powers)) / powers.length;
  const large: Ranked[] = [];
  powers.forEach((power, token) => power >= least && large.push([token, power]));
  return large.sort(([, left], [, right]) => right - left);
}

function sumOf(values: Iterable<number>): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}

/** Draws one of them; `at` is from 0 to 1. What sums lose by rounding is the last one's. */
export function draw(ranked: readonly Ranked[], at: number): number {
  let left = at * sumOf(ranked.map(([, power]) => power));
  const drawn = ranked.find(([, power]) => (left -= power) < 0);
  return (drawn ?? ranked.findLast(([, power]) => power > 0)!)[0];
}

/** Draws as a step of the library's generation, which then takes the likeliest token: no other is left. */
export class SamplingProcessor extends LogitsProcessor {
  readonly #sampling: Sampling;

  constructor(sampling: Sampling) {
    super();
    this.#sampling = sampling;
  }

  override _call(_tokens: bigint[][], logits: Tensor): Tensor {
    const values = logits.data as Float32Array;
    const token = draw(likeliest(values, this.#sampling), random.random());
    values.fill(-Infinity);
    values[token] = 0;
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
