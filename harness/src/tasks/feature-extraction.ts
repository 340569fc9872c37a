/** Feature extraction: a text becomes a vector. The same steps as the library's own pipeline, timed apart. */
import { create } from "@bufbuild/protobuf";
import { AutoModel, AutoTokenizer, type DataType, type Tensor } from "@huggingface/transformers";
import { FailureKind } from "../gen/webinfer/bridge/v1/bridge_pb";
import { type Item, ItemSchema, type ItemResult, ItemResultSchema } from "../gen/webinfer/v1/inference_pb";
import { Pooling } from "../gen/webinfer/v1/model_pb";
import { packed } from "../embedding";
import { badInput, Failure } from "../failure";
import { firstToken, type Floats, meanPool, normalizeRows } from "../pooling";
import type { OpenTask, Task } from "./task";

type Inputs = { attention_mask: Tensor };
type Outputs = Partial<Record<"last_hidden_state" | "logits" | "token_embeddings", Tensor>>;

const WARM_UP_TEXT = "A replica runs once before it serves.";
/** One text alone, and texts together: the two have kernels of their own. */
const WARM_UP_BATCHES = [1, 2];

export async function openFeatureExtraction({
  base,
  spec,
  device,
  externalData,
}: OpenTask): Promise<Task<Inputs, Outputs>> {
  // A name that begins with a slash is a path on the page's own origin to the library.
  const name = base.replace(/\/$/, "");
  const [tokenizer, model] = await Promise.all([
    AutoTokenizer.from_pretrained(name),
    AutoModel.from_pretrained(name, { device, dtype: spec.dtype as DataType, session_options: { externalData } }),
  ]);
  return {
    warmUp: () => WARM_UP_BATCHES.map((count) => Array.from({ length: count }, () => textItem(WARM_UP_TEXT))),
    preprocess: (items) => tokenizer(items.map(textOf), { padding: true, truncation: true }),
    infer: (inputs) => model(inputs),
    postprocess(outputs, inputs) {
      const tokens = tokenVectors(outputs);
      const dims = tokens.dims as [number, number, number];
      const hidden = tokens.data as Floats;
      const cls = spec.pooling === Pooling.CLS;
      const vectors = cls
        ? firstToken(hidden, dims)
        : meanPool(hidden, inputs.attention_mask.data as BigInt64Array, dims);
      if (!spec.unnormalized) normalizeRows(vectors, dims[2]);
      return cut(vectors, dims[2]);
    },
  };
}

function textItem(text: string): Item {
  return create(ItemSchema, { input: { case: "text", value: text } });
}

function textOf({ input }: Item, index: number): string {
  if (input.case !== "text") throw badInput(`item ${index}: expected a text, got ${input.case ?? "nothing"}`);
  return input.value;
}

/** The output that the library's pipeline takes. */
function tokenVectors(outputs: Outputs): Tensor {
  const tokens = outputs.last_hidden_state ?? outputs.logits ?? outputs.token_embeddings;
  if (tokens?.dims.length === 3) return tokens;
  throw new Error(`the model has no output of token vectors, only ${Object.keys(outputs).join(", ")}`);
}

function cut(vectors: Floats, size: number): ItemResult[] {
  const wide = vectors instanceof Float32Array ? vectors : Float32Array.from(vectors);
  return Array.from({ length: wide.length / size }, (_, index) => {
    const values = wide.subarray(index * size, (index + 1) * size);
    check(values, index);
    return create(ItemResultSchema, { output: { case: "embedding", value: packed(values) } });
  });
}

/** Refuses a vector that no model means: one with NaN or infinity in it, or of nothing but zeros. */
function check(values: Float32Array, index: number): void {
  let sum = 0;
  for (const value of values) sum += Math.abs(value);
  if (sum > 0 && sum < Infinity) return;
  const what = sum === 0 ? "is all zero" : "is not finite";
  throw new Failure(FailureKind.BAD_OUTPUT, `the vector of item ${index} ${what}`);
}
