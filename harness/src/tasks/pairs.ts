/** Pairs: two texts that a model judges together, many in one run. */
import { badInput } from "../failure";
import { finite } from "./outputs";
import type { Pipe } from "./pipeline";

/** Pairs of one run of the session. */
const TOGETHER = 32;

/** The logits of each pair of `text` with one of `others`. */
export async function judgePairs(
  { tokenizer, model }: Pick<Pipe, "tokenizer" | "model">,
  text: string,
  others: string[],
): Promise<number[][]> {
  if (others.length === 0) throw badInput("there is nothing to judge the text by");
  const all: number[][] = [];
  for (let begin = 0; begin < others.length; begin += TOGETHER) {
    const text_pair = others.slice(begin, begin + TOGETHER);
    const texts = text_pair.map(() => text);
    const { logits } = await model(tokenizer(texts, { text_pair, padding: true, truncation: true }));
    all.push(...(logits!.tolist() as number[][]));
  }
  for (const row of all) for (const logit of row) finite(logit, "a logit");
  return all;
}
