/** Pairs: two texts that a model judges together, many in one run. */
import { badInput } from "../failure";
import { finite } from "./outputs";
import { countTokens } from "./generation";
import type { Pipe } from "./pipeline";
import type { Tokens } from "./tokens";

/** Pairs of one run of the session. */
const TOGETHER = 32;
/** Marks around the texts of a pair, at most. */
const MARKS = 8;

/**
 * The logits of each pair of `text` with one of `others`. Of a pair that is too long for the model the library drops the end;
 * where the others have to stay whole, the text is cut before, as Hugging Face's `only_first` does it.
 */
export async function judgePairs(
  { tokenizer, model }: Pick<Pipe, "tokenizer" | "model">,
  text: string,
  others: string[],
  cuts: "text" | "others",
): Promise<number[][]> {
  if (others.length === 0) throw badInput("there is nothing to judge the text by");
  const all: number[][] = [];
  for (let begin = 0; begin < others.length; begin += TOGETHER) {
    const text_pair = others.slice(begin, begin + TOGETHER);
    const first = shortened(tokenizer, text, text_pair, cuts);
    const texts = text_pair.map(() => first);
    const { logits } = await model(tokenizer(texts, { text_pair, padding: true, truncation: true }));
    all.push(...(logits!.tolist() as number[][]));
  }
  for (const row of all) for (const logit of row) finite(logit, "a logit");
  return all;
}

/** The beginning of a text for which there is room beside the longest of the others, or beside as much of them. */
export function shortened(
  tokenizer: Pipe["tokenizer"],
  text: string,
  others: string[],
  cuts: "text" | "others",
): string {
  const most = tokenizer.model_max_length as number;
  const count = (text: string, pair?: string) =>
    countTokens(tokenizer([text], pair === undefined ? {} : { text_pair: [pair] }) as Tokens);
  const fits =
    cuts === "text"
      ? (text: string, other: string) => count(text, other) <= most
      : (text: string) => count(text) <= most / 2;
  // A token has a byte at least, a character three at most, and marks around them are few.
  if (3 * (text.length + Math.max(...others.map(({ length }) => length))) + MARKS <= most) return text;
  const sizes = cuts === "text" ? others.map((other) => count(other)) : [0];
  const pair = others[sizes.indexOf(Math.max(...sizes))]!;
  if (fits(text, pair)) return text;
  if (!fits("", pair)) throw badInput(`there is no room for the text beside "${pair.slice(0, 60)}"`);
  let [least, end] = [0, text.length];
  while (end - least > 1) {
    const middle = Math.floor((least + end) / 2);
    if (fits(text.slice(0, middle), pair)) least = middle;
    else end = middle;
  }
  return text.slice(0, least);
}
