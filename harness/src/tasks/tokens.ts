/**
 * Tokens: texts as a model takes them. A text becomes tokens as soon as it is read, beside the batch that a GPU runs, since
 * that takes longer than anything else that the CPU does for it; a batch lays them side by side.
 */
import { Tensor } from "@huggingface/transformers";
import type { Pipe } from "./pipeline";

/** The inputs of a model, [texts, tokens] each. */
export type Tokens = Record<string, Tensor>;

/** Of one text, or of a text with one that goes with it. */
export function tokensOf({ tokenizer }: Pick<Pipe, "tokenizer">, text: string, pair?: string): Tokens {
  const options = { truncation: true, ...(pair !== undefined && { text_pair: [pair] }) };
  return tokenizer([text], options) as Tokens;
}

/** Texts as one batch, padded to the longest. */
export function together({ tokenizer }: Pick<Pipe, "tokenizer">, all: readonly Tokens[]): Tokens {
  const [first] = all;
  if (!first || all.length === 1) return first ?? {};
  const batch: Tokens = {};
  for (const name of Object.keys(first)) {
    const rows = all.map((tokens) => tokens[name]!.data as BigInt64Array);
    const longest = Math.max(...rows.map(({ length }) => length));
    const values = new BigInt64Array(rows.length * longest);
    if (name === "input_ids") values.fill(BigInt(tokenizer.pad_token_id ?? 0));
    rows.forEach((row, at) => {
      const begin = tokenizer.padding_side === "left" ? longest - row.length : 0;
      values.set(row, at * longest + begin);
    });
    batch[name] = new Tensor("int64", values, [rows.length, longest]);
  }
  return batch;
}
