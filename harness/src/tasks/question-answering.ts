/** Question answering: where a text answers a question. The steps of the library's pipeline, without its list of all pairs. */
import type { Tensor } from "@huggingface/transformers";
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import { each } from "../failure";
import { contextOf, inputOf, SAMPLE_TEXT } from "./inputs";
import { finite, softmax } from "./outputs";
import { task } from "./pipeline";
import { together, type Tokens, tokensOf } from "./tokens";

export const openQuestionAnswering = task<Tokens>({
  parts: "question-answering",
  batching: Batching.PADDED,
  sample: (pipe) => tokensOf(pipe, "What runs?", SAMPLE_TEXT),
  read: (item, pipe) => {
    const question = inputOf(item, "question");
    return tokensOf(pipe, question.text, contextOf(question));
  },
  async run(pipe, inputs) {
    const { tokenizer, model } = pipe;
    const tokens = together(
      pipe,
      inputs.map(({ read }) => read),
    );
    const { start_logits, end_logits } = await model(tokens);
    const rows = (tensor: Tensor | undefined) => tensor!.tolist() as number[][];
    const [starts, ends] = [rows(start_logits), rows(end_logits)];
    const ids = tokens.input_ids!.tolist() as bigint[][];
    const separator = BigInt((tokenizer as { sep_token_id?: number }).sep_token_id ?? -1);
    const special = new Set((tokenizer.all_special_ids as number[]).map(BigInt));
    return each(inputs, ({ parameters }, at) => {
      const row = ids[at]!;
      const first = row.indexOf(separator);
      const isContext = row.map((id, token) => token > first && !special.has(id));
      // An empty text has no answer.
      if (!isContext.includes(true)) return { case: "answers", value: { answers: [] } };
      const masked = (logits: number[]) =>
        softmax(logits.map((logit, token) => (isContext[token] ? logit : -Infinity)));
      const found = spans(masked(starts[at]!), masked(ends[at]!), parameters.topK ?? 1);
      const answers = found.map(([start, end, score]) => ({
        text: tokenizer.decode(row.slice(start, end + 1), { skip_special_tokens: true }),
        score: finite(score),
      }));
      return { case: "answers", value: { answers } };
    });
  },
});

/** The likeliest stretches: of all that do not end before they begin. */
export function spans(
  starts: Float32Array,
  ends: Float32Array,
  count: number,
): [start: number, end: number, score: number][] {
  const best: [number, number, number][] = [];
  for (let start = 0; start < starts.length; start++) {
    // A NaN is kept, to be refused.
    if (starts[start] === 0) continue;
    for (let end = start; end < ends.length; end++) {
      const score = starts[start]! * ends[end]!;
      if (ends[end] === 0 || (best.length >= count && score <= best[best.length - 1]![2])) continue;
      let at = best.length;
      while (at > 0 && best[at - 1]![2] < score) at--;
      best.splice(at, 0, [start, end, score]);
      if (best.length > count) best.pop();
    }
  }
  return best;
}
