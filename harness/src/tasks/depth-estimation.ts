/** Depth estimation: how far away each pixel of a picture is. */
import type { RawImage, Tensor } from "@huggingface/transformers";
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import { DataType } from "../gen/webinfer/v1/inference_pb";
import { imageOf, sampleImage } from "./inputs";
import { checkNumbers } from "./outputs";
import { task } from "./pipeline";
import { inTurn } from "./task";

export const openDepthEstimation = task({
  parts: "depth-estimation",
  batching: Batching.IN_TURN,
  sample: sampleImage,
  read: imageOf,
  run: (pipe, inputs) =>
    inTurn<RawImage>(async ({ read }) => {
      const { predicted_depth } = (await pipe(read)) as { predicted_depth: Tensor };
      const values = predicted_depth.data as Float32Array<ArrayBuffer>;
      checkNumbers(values, "the depth");
      const data = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
      const shape = predicted_depth.dims.map(BigInt);
      return { case: "depth", value: { dataType: DataType.FLOAT32, shape, data } };
    })(inputs),
});
