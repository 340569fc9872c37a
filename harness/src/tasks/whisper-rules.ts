/**
 * Whisper rules: which tokens may follow, besides what the library's own rules say. Times do not go back, and the first one
 * is near the start of the window, as in Hugging Face's own rules.
 */
import { LogitsProcessor, type Tensor, WhisperTimeStampLogitsProcessor } from "@huggingface/transformers";

/** What the rules want of generation_config.json. */
export interface Times {
  no_timestamps_token_id: number;
  eos_token_id: number;
  max_initial_timestamp_index?: number | null;
}

export class TimesProcessor extends WhisperTimeStampLogitsProcessor {
  readonly #begin: number;
  readonly #first: number;
  readonly #mostInitial: number;

  constructor(times: Times, prompt: number[]) {
    super(times as ConstructorParameters<typeof WhisperTimeStampLogitsProcessor>[0], prompt);
    this.#begin = prompt.length;
    this.#first = times.no_timestamps_token_id + 1;
    this.#mostInitial = times.max_initial_timestamp_index ?? Infinity;
  }

  override _call(tokens: bigint[][], logits: Tensor): Tensor {
    const values = logits.data as Float32Array;
    const [from, to] = allowed(tokens[0]!.slice(this.#begin).map(Number), this.#first, this.#mostInitial);
    values.subarray(this.#first, from).fill(-Infinity);
    if (to < values.length) values.subarray(to).fill(-Infinity);
    return super._call(tokens, logits);
  }
}

/** The times that may come next: from the first of these tokens on, up to the second. Pure. */
export function allowed(made: number[], first: number, mostInitial: number): [from: number, to: number] {
  const last = made.findLast((token) => token >= first);
  if (last === undefined) return [first, first + mostInitial + 1];
  const [before = first, latest] = made.slice(-2);
  // The end of a segment may be the beginning of the next; no other time comes twice.
  const again = made.length > 1 && latest! >= first && before < first;
  return [again ? last : last + 1, Infinity];
}

/** Leaves no other tokens than these. */
export class Only extends LogitsProcessor {
  readonly #ids: readonly number[];

  constructor(ids: readonly number[]) {
    super();
    this.#ids = ids;
  }

  override _call(_tokens: bigint[][], logits: Tensor): Tensor {
    const values = logits.data as Float32Array;
    const kept = this.#ids.map((id) => values[id]!);
    values.fill(-Infinity);
    this.#ids.forEach((id, at) => (values[id] = kept[at]!));
    return logits;
  }
}
