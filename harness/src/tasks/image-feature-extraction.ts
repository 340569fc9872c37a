/** Image feature extraction: a picture becomes a vector. */
import type { Tensor } from "@huggingface/transformers";
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import { Pooling } from "../gen/webinfer/v1/model_pb";
import { each } from "../failure";
import { firstToken, type Floats, meanPool, normalizeRows } from "../pooling";
import { sampleImage } from "./inputs";
import { embedding } from "./outputs";
import { pictureOf, processed, sizeOf, stacked } from "./pictures";
import { task } from "./pipeline";
import { inGroups } from "./task";

export const openImageFeatureExtraction = task({
  parts: "image-feature-extraction",
  batching: Batching.STACKED,
  sample: (pipe) => processed(pipe, sampleImage()),
  read: pictureOf,
  run: ({ model }, all, { spec }) =>
    inGroups(all, sizeOf, async (inputs) => {
      const outputs = await model({ pixel_values: stacked(inputs) });
      const vectors = pooled(outputs, spec.pooling);
      const size = vectors.length / inputs.length;
      if (!spec.unnormalized) normalizeRows(vectors, size);
      const wide = vectors instanceof Float32Array ? vectors : Float32Array.from(vectors);
      return each(inputs, (_, at) => embedding(wide.subarray(at * size, (at + 1) * size)));
    }),
});

/** The model's own vector of the whole picture, where it has one; else its patches' vectors make it. */
function pooled(outputs: Record<string, Tensor>, pooling: Pooling): Floats {
  const whole = outputs.image_embeds ?? outputs.pooler_output;
  if (whole) return (whole.data as Floats).slice();
  const patches = outputs.last_hidden_state ?? outputs.logits;
  if (!patches) throw new Error(`the model has no vectors among its outputs ${Object.keys(outputs).join(", ")}`);
  if (patches.dims.length === 2) return (patches.data as Floats).slice();
  if (patches.dims.length !== 3) throw new Error(`the model's vectors have ${patches.dims.length} dimensions, not 3`);
  const dims = patches.dims as [number, number, number];
  if (pooling === Pooling.CLS) return firstToken(patches.data as Floats, dims);
  const all = new BigInt64Array(dims[0] * dims[1]).fill(1n);
  return meanPool(patches.data as Floats, all, dims);
}
