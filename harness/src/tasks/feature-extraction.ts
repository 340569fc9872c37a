/** Feature extraction: a text becomes a vector. */
import type { Tensor } from "@huggingface/transformers";
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import { Pooling } from "../gen/webinfer/v1/model_pb";
import { VECTOR } from "../capture";
import { each } from "../failure";
import { firstToken, type Floats, meanPool, normalizeRows } from "../pooling";
import { SAMPLE_TEXT, textOf } from "./inputs";
import { embedding } from "./outputs";
import { task } from "./pipeline";
import { together, type Tokens, tokensOf } from "./tokens";

export const openFeatureExtraction = task<Tokens>({
  parts: "feature-extraction",
  batching: Batching.PADDED,
  sample: (pipe) => tokensOf(pipe, SAMPLE_TEXT),
  read: (item, pipe) => tokensOf(pipe, textOf(item)),
  run: async (pipe, inputs, { spec }) => {
    const tokens = together(
      pipe,
      inputs.map(({ read }) => read),
    );
    const outputs = await pipe.model(tokens);
    // Made on the GPU, where the tokens' vectors are.
    const made = outputs[VECTOR];
    if (made) return each(inputs, (_, at) => embedding(row(made, at)));
    const hidden = tokenVectors(outputs);
    const dims = hidden.dims as [number, number, number];
    const vectors =
      spec.pooling === Pooling.CLS
        ? firstToken(hidden.data as Floats, dims)
        : meanPool(hidden.data as Floats, tokens.attention_mask!.data as BigInt64Array, dims);
    const size = dims[2];
    if (!spec.unnormalized) normalizeRows(vectors, size);
    const wide = vectors instanceof Float32Array ? vectors : Float32Array.from(vectors);
    return each(inputs, (_, at) => embedding(wide.subarray(at * size, (at + 1) * size)));
  },
});

function row({ data, dims }: Tensor, at: number): Float32Array {
  const size = data.length / dims[0]!;
  return (data as Float32Array).subarray(at * size, (at + 1) * size);
}

/** The output that the library's pipeline takes. */
function tokenVectors(outputs: Record<string, Tensor>): Tensor {
  const tokens = outputs.last_hidden_state ?? outputs.logits ?? outputs.token_embeddings;
  if (tokens?.dims.length === 3) return tokens;
  throw new Error(`the model has no output of token vectors, only ${Object.keys(outputs).join(", ")}`);
}
