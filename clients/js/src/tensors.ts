/** Tensors: between typed arrays and the messages that carry them. */

import { create } from "@bufbuild/protobuf";
import { InvalidInput } from "./errors.js";
import { DataType, TensorSchema, type Tensor as TensorMessage } from "./gen/webinfer/v1/inference_pb.js";

/** What carries a tensor's elements. */
export type TensorData =
  Float32Array | Uint16Array | BigInt64Array | Int32Array | Int8Array | Uint8Array | Uint8ClampedArray;

/** Type of a tensor's element. */
export type TensorType = "float32" | "float16" | "int64" | "int32" | "int8" | "uint8" | "bool";

interface Kind {
  dataType: DataType;
  array: {
    new (buffer: ArrayBufferLike, offset: number, length: number): TensorData;
    readonly BYTES_PER_ELEMENT: number;
  };
}

const KINDS: Record<TensorType, Kind> = {
  float32: { dataType: DataType.FLOAT32, array: Float32Array },
  float16: { dataType: DataType.FLOAT16, array: Uint16Array },
  int64: { dataType: DataType.INT64, array: BigInt64Array },
  int32: { dataType: DataType.INT32, array: Int32Array },
  int8: { dataType: DataType.INT8, array: Int8Array },
  uint8: { dataType: DataType.UINT8, array: Uint8Array },
  bool: { dataType: DataType.BOOL, array: Uint8Array },
};

// Uint16Array stands for nothing by itself.
const BY_ARRAY: Record<string, TensorType> = {
  Float32Array: "float32",
  Float16Array: "float16",
  BigInt64Array: "int64",
  Int32Array: "int32",
  Int8Array: "int8",
  Uint8Array: "uint8",
  Uint8ClampedArray: "uint8",
};

/**
 * A dense tensor in row-major order.
 *
 * `float16` has its bits in a `Uint16Array`, or a `Float16Array` where the runtime has that; `bool` a byte each, 0 or 1, in a
 * `Uint8Array`. Nothing is copied: leave the array as it is until the call has ended.
 */
export class Tensor {
  readonly type: TensorType;
  readonly shape: readonly number[];
  readonly data: TensorData;

  /**
   * @param data The elements.
   * @param shape Dimensions, outermost first; by default one of the array's length.
   * @param type Type of an element; by default that of the array.
   * @throws {@link InvalidInput} Where these do not fit together.
   */
  constructor(data: TensorData, shape?: readonly number[], type?: TensorType) {
    const name = data?.constructor?.name ?? typeof data;
    const own = BY_ARRAY[name === "Buffer" ? "Uint8Array" : name];
    const chosen = type ?? own;
    if (!chosen) {
      const advice = name === "Uint16Array" ? 'say "float16" if it has the bits of those' : "see TensorData";
      throw new InvalidInput(`a ${name} cannot be sent as it is; ${advice}`);
    }
    const kind = KINDS[chosen];
    if (!kind) {
      throw new InvalidInput(`${chosen} is none of ${Object.keys(KINDS).join(", ")}`);
    }
    const fits = own === chosen || (chosen === "bool" && own === "uint8") || (chosen === "float16" && !own);
    if (!fits) {
      throw new InvalidInput(`a ${name} does not hold ${chosen}`);
    }
    shape ??= [data.length];
    if (!Array.isArray(shape) || !shape.every((size) => Number.isSafeInteger(size) && size >= 0)) {
      throw new InvalidInput(`[${shape}] is no shape: dimensions are whole numbers, 0 or more`);
    }
    const elements = shape.reduce((product, size) => product * size, 1);
    if (elements !== data.length) {
      throw new InvalidInput(`the shape [${shape}] has ${elements} elements, and there are ${data.length}`);
    }
    this.type = chosen;
    this.shape = shape;
    this.data = data;
  }
}

/** The message of a tensor, over its bytes. */
export function toMessage(tensor: Tensor): TensorMessage {
  if (!ArrayBuffer.isView(tensor?.data) || !(tensor.type in KINDS)) {
    throw new InvalidInput("tensors are made by new Tensor(data, shape)");
  }
  const { buffer, byteOffset, byteLength } = tensor.data;
  return create(TensorSchema, {
    dataType: KINDS[tensor.type].dataType,
    shape: tensor.shape.map(BigInt),
    data: new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength),
  });
}

/** A tensor over a message's bytes. They are copied only where they do not begin at a multiple of an element's size. */
export function fromMessage(message: TensorMessage): Tensor {
  const [type, kind] = Object.entries(KINDS).find(([, kind]) => kind.dataType === message.dataType) ?? [];
  if (!type || !kind) {
    throw new InvalidInput(`the data type ${message.dataType} is not known to this client`);
  }
  const data = elements(message.data, kind.array);
  return new Tensor(data, message.shape.map(Number), type as TensorType);
}

/** Bytes as an array of larger elements: a view of them where they are aligned. */
export function elements<T extends Kind["array"]>(bytes: Uint8Array, array: T): InstanceType<T> {
  const size = array.BYTES_PER_ELEMENT;
  const aligned = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  return new array(aligned.buffer, aligned.byteOffset, aligned.byteLength / size) as InstanceType<T>;
}
