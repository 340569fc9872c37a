/** Fill mask: what may stand in place of the mask in a text. */
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import { badInput, each } from "../failure";
import { textOf } from "./inputs";
import { finite, TOP_K } from "./outputs";
import { type Pipe, task } from "./pipeline";
import { tokensOf } from "./tokens";

interface Filling {
  score: number;
  token: number;
  token_str: string;
  sequence: string;
}

export const openFillMask = task({
  parts: "fill-mask",
  batching: Batching.PADDED,
  sample: (pipe) => `A replica ${mask(pipe)} once.`,
  read: (item, pipe) => {
    const text = textOf(item);
    if (!text.includes(mask(pipe)))
      throw badInput(`the text has no ${mask(pipe)}, which stands for what is to be filled in`);
    const { input_ids } = tokensOf(pipe, text);
    const id = BigInt((pipe.tokenizer as { mask_token_id?: number }).mask_token_id ?? -1);
    if ((input_ids!.data as BigInt64Array).includes(id)) return text;
    const read = `the first ${input_ids!.dims.at(-1)} tokens, which are all that the model reads`;
    throw badInput(`the text has no ${mask(pipe)} among ${read}`);
  },
  async run(pipe, inputs) {
    const texts = inputs.map(({ read }) => read);
    const most = Math.max(...inputs.map(({ parameters }) => parameters.topK ?? TOP_K));
    const vocabulary = pipe.tokenizer.get_vocab().size;
    const all = (await pipe(texts, { top_k: Math.min(most, vocabulary) })) as Filling[][];
    return each(inputs, ({ parameters }, at) => {
      const fills = all[at]!.slice(0, parameters.topK ?? TOP_K).map(({ score, token, token_str, sequence }) => ({
        token: token_str,
        tokenId: token,
        score: finite(score),
        sequence,
      }));
      return { case: "fills", value: { fills } };
    });
  },
});

function mask({ tokenizer }: Pipe): string {
  const token = tokenizer.mask_token as string | undefined;
  if (!token) throw badInput("the model's tokenizer has no mask, so it cannot fill one");
  return token;
}
