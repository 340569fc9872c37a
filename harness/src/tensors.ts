/** Tensors: between the wire's little-endian bytes and the runtime's typed arrays, without a copy where it can be. */
import { create } from "@bufbuild/protobuf";
import { Tensor as OrtTensor } from "onnxruntime-web/webgpu";
import { DataType, type Tensor, TensorSchema } from "./gen/webinfer/v1/inference_pb";
import { badInput, type Failure } from "./failure";

const MAX_RANK = 8;

interface Kind {
  dataType: DataType;
  type: string;
  array: { new (buffer: ArrayBufferLike, offset: number, length: number): ArrayBufferView; BYTES_PER_ELEMENT: number };
}

/** Browsers without 16-bit floats hold their bits in integers, as the runtime does. */
const Float16 = (globalThis as { Float16Array?: Kind["array"] }).Float16Array ?? Uint16Array;

const KINDS: readonly Kind[] = [
  { dataType: DataType.FLOAT32, type: "float32", array: Float32Array },
  { dataType: DataType.FLOAT16, type: "float16", array: Float16 },
  { dataType: DataType.INT64, type: "int64", array: BigInt64Array },
  { dataType: DataType.INT32, type: "int32", array: Int32Array },
  { dataType: DataType.INT8, type: "int8", array: Int8Array },
  { dataType: DataType.UINT8, type: "uint8", array: Uint8Array },
  { dataType: DataType.BOOL, type: "bool", array: Uint8Array },
];
const BY_DATA_TYPE = new Map(KINDS.map((kind) => [kind.dataType, kind]));
const BY_TYPE = new Map(KINDS.map((kind) => [kind.type, kind]));

/** Whether a type of the runtime can travel. */
export function carries(type: string): boolean {
  return BY_TYPE.has(type);
}

export function badTensor(name: string, why: string): Failure {
  return badInput(`tensor ${JSON.stringify(name)}: ${why}`);
}

/** Throws BAD_INPUT naming the tensor. */
export function toOrt(name: string, { dataType, shape, data }: Tensor): OrtTensor {
  const kind = BY_DATA_TYPE.get(dataType);
  if (!kind) throw badTensor(name, `data_type ${dataType} is not known`);
  const width = kind.array.BYTES_PER_ELEMENT;
  const dims = shape.map(Number);
  if (!isShape(dims)) throw badTensor(name, `shape [${shape.join(",")}] is not one of at most ${MAX_RANK} sizes`);
  const length = dims.reduce((product, size) => product * size, 1);
  if (data.byteLength !== length * width) {
    const wants = `${kind.type}[${dims.join(",")}] takes ${length * width} bytes`;
    throw badTensor(name, `${wants}, got ${data.byteLength}`);
  }
  if (dataType === DataType.BOOL && data.some((byte) => byte > 1)) throw badTensor(name, "a bool is neither 0 nor 1");
  // A typed array begins only at a multiple of its width, but bytes in a frame begin anywhere.
  const bytes = data.byteOffset % width === 0 ? data : data.slice();
  const values = new kind.array(bytes.buffer, bytes.byteOffset, length);
  return new OrtTensor(kind.type as "float32", values as Float32Array, dims);
}

function isShape(dims: number[]): boolean {
  return dims.length <= MAX_RANK && dims.every((size) => Number.isSafeInteger(size) && size >= 0);
}

/** The bytes are the runtime's own: encode the message before the next run. */
export function fromOrt({ type, dims, data }: OrtTensor): Tensor {
  const kind = BY_TYPE.get(type);
  if (!kind || !ArrayBuffer.isView(data)) throw new Error(`an output is ${type}, which is not supported`);
  return create(TensorSchema, {
    dataType: kind.dataType,
    shape: dims.map(BigInt),
    data: new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength),
  });
}

/** A tensor of zeros; the type is one that is carried. */
export function zeros(type: string, shape: readonly number[]): Tensor {
  const kind = BY_TYPE.get(type);
  if (!kind) throw new Error(`${type} is not supported`);
  const length = shape.reduce((product, size) => product * size, 1);
  const data = new Uint8Array(length * kind.array.BYTES_PER_ELEMENT);
  return create(TensorSchema, { dataType: kind.dataType, shape: shape.map(BigInt), data });
}
