/** Embedding: a vector as it goes on the wire. */
import { create } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { type Embedding, EmbeddingSchema } from "./gen/webinfer/v1/inference_pb";

/**
 * The message of a vector, for encoding only: its field holds nothing here.
 *
 * A packed field of floats is the bytes that a Float32Array has anyway, since every browser runs little-endian. Given
 * as bytes of a field, they are copied as they are; the library would write each number by itself, twenty times slower.
 */
export function packed(values: Float32Array): Embedding {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const embedding = create(EmbeddingSchema);
  const data = new BinaryWriter().bytes(bytes).finish();
  embedding.$unknown = [{ no: EmbeddingSchema.field.values.number, wireType: WireType.LengthDelimited, data }];
  return embedding;
}
