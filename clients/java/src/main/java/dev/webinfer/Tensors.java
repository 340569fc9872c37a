package dev.webinfer;

import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;
import dev.webinfer.v1.DataType;
import dev.webinfer.v1.Samples;
import dev.webinfer.v1.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;

/**
 * Makes tensors and reads them. Elements are in row-major order, little-endian, without gaps; a shape without
 * dimensions is that of a scalar.
 *
 * <p>Bytes of an array or of a buffer over one are not copied, and must stay as they are until the call has ended.
 * Those of a direct or read-only buffer are copied once, by protobuf.
 */
public final class Tensors {
  private Tensors() {}

  /**
   * Makes a tensor of any type over bytes that are there, from the buffer's position to its limit.
   *
   * @param data the elements, little-endian whatever the buffer's own order is; not copied where they are in
   *     an array
   * @param type type of an element
   * @param shape dimensions, outermost first
   * @return the tensor
   * @throws IllegalArgumentException where the bytes are not those of the type times all dimensions
   */
  public static Tensor of(ByteBuffer data, DataType type, long... shape) {
    return of(UnsafeByteOperations.unsafeWrap(data), type, shape);
  }

  /**
   * Makes a tensor of 32-bit floats. They are copied once; {@link #of(ByteBuffer, DataType, long...)} needs no
   * copy.
   *
   * @param data the elements, from the buffer's position to its limit
   * @param shape dimensions, outermost first
   * @return the tensor
   * @throws IllegalArgumentException where the elements are not as many as the shape says
   */
  public static Tensor of(FloatBuffer data, long... shape) {
    ByteBuffer bytes = allocate(data.remaining(), Float.BYTES);
    bytes.asFloatBuffer().put(data.duplicate());
    return of(bytes, DataType.DATA_TYPE_FLOAT32, shape);
  }

  /**
   * Makes a tensor of 32-bit floats, which are copied once.
   *
   * @param data the elements
   * @param shape dimensions, outermost first
   * @return the tensor
   * @throws IllegalArgumentException where the elements are not as many as the shape says
   */
  public static Tensor of(float[] data, long... shape) {
    return of(FloatBuffer.wrap(data), shape);
  }

  /**
   * Makes a tensor of signed 64-bit integers, which are copied once.
   *
   * @param data the elements, from the buffer's position to its limit
   * @param shape dimensions, outermost first
   * @return the tensor
   * @throws IllegalArgumentException where the elements are not as many as the shape says
   */
  public static Tensor of(LongBuffer data, long... shape) {
    ByteBuffer bytes = allocate(data.remaining(), Long.BYTES);
    bytes.asLongBuffer().put(data.duplicate());
    return of(bytes, DataType.DATA_TYPE_INT64, shape);
  }

  /**
   * Makes a tensor of signed 32-bit integers, which are copied once.
   *
   * @param data the elements, from the buffer's position to its limit
   * @param shape dimensions, outermost first
   * @return the tensor
   * @throws IllegalArgumentException where the elements are not as many as the shape says
   */
  public static Tensor of(IntBuffer data, long... shape) {
    ByteBuffer bytes = allocate(data.remaining(), Integer.BYTES);
    bytes.asIntBuffer().put(data.duplicate());
    return of(bytes, DataType.DATA_TYPE_INT32, shape);
  }

  /**
   * Returns a tensor's bytes.
   *
   * @param tensor the tensor
   * @return a read-only little-endian view, from 0 to the tensor's length; nothing is copied
   */
  public static ByteBuffer bytes(Tensor tensor) {
    return view(tensor.getData());
  }

  /**
   * Returns a tensor's 32-bit floats.
   *
   * @param tensor a tensor of {@code DATA_TYPE_FLOAT32}
   * @return a read-only view; nothing is copied
   * @throws IllegalStateException where the tensor is of another type
   */
  public static FloatBuffer floats(Tensor tensor) {
    expect(tensor, DataType.DATA_TYPE_FLOAT32);
    return bytes(tensor).asFloatBuffer();
  }

  /**
   * Returns a tensor's signed 64-bit integers.
   *
   * @param tensor a tensor of {@code DATA_TYPE_INT64}
   * @return a read-only view; nothing is copied
   * @throws IllegalStateException where the tensor is of another type
   */
  public static LongBuffer longs(Tensor tensor) {
    expect(tensor, DataType.DATA_TYPE_INT64);
    return bytes(tensor).asLongBuffer();
  }

  /**
   * Returns a tensor's signed 32-bit integers.
   *
   * @param tensor a tensor of {@code DATA_TYPE_INT32}
   * @return a read-only view; nothing is copied
   * @throws IllegalStateException where the tensor is of another type
   */
  public static IntBuffer ints(Tensor tensor) {
    expect(tensor, DataType.DATA_TYPE_INT32);
    return bytes(tensor).asIntBuffer();
  }

  /**
   * Returns a sound's samples.
   *
   * @param sound sound of one channel
   * @return its samples, from -1 to 1, as a read-only view; nothing is copied
   */
  public static FloatBuffer floats(Samples sound) {
    return view(sound.getData()).asFloatBuffer();
  }

  /**
   * Returns a tensor's dimensions.
   *
   * @param tensor the tensor
   * @return its dimensions, outermost first, empty for a scalar
   */
  public static long[] shape(Tensor tensor) {
    long[] shape = new long[tensor.getShapeCount()];
    for (int i = 0; i < shape.length; i++) {
      shape[i] = tensor.getShape(i);
    }
    return shape;
  }

  /** The little-endian bytes of floats, copied once. */
  static ByteString littleEndian(FloatBuffer data) {
    ByteBuffer bytes = allocate(data.remaining(), Float.BYTES);
    bytes.asFloatBuffer().put(data.duplicate());
    return UnsafeByteOperations.unsafeWrap(bytes);
  }

  private static Tensor of(ByteString data, DataType type, long[] shape) {
    long expected = size(type);
    Tensor.Builder tensor = Tensor.newBuilder().setDataType(type).setData(data);
    for (long dimension : shape) {
      if (dimension < 0) {
        throw new IllegalArgumentException("a dimension of " + dimension);
      }
      try {
        expected = Math.multiplyExact(expected, dimension);
      } catch (ArithmeticException e) {
        throw new IllegalArgumentException("the shape is too large", e);
      }
      tensor.addShape(dimension);
    }
    if (data.size() != expected) {
      throw new IllegalArgumentException(
          "the shape needs " + expected + " bytes of " + type + ", and there are " + data.size());
    }
    return tensor.build();
  }

  private static int size(DataType type) {
    return switch (type) {
      case DATA_TYPE_INT64 -> 8;
      case DATA_TYPE_FLOAT32, DATA_TYPE_INT32 -> 4;
      case DATA_TYPE_FLOAT16 -> 2;
      case DATA_TYPE_INT8, DATA_TYPE_UINT8, DATA_TYPE_BOOL -> 1;
      default -> throw new IllegalArgumentException("no type of tensors: " + type);
    };
  }

  private static ByteBuffer allocate(int elements, int bytes) {
    return ByteBuffer.allocate(Math.multiplyExact(elements, bytes)).order(ByteOrder.LITTLE_ENDIAN);
  }

  private static ByteBuffer view(ByteString bytes) {
    // Of a part of an array the buffer would begin at the part's offset; callers count from 0.
    return bytes.asReadOnlyByteBuffer().slice().order(ByteOrder.LITTLE_ENDIAN);
  }

  private static void expect(Tensor tensor, DataType type) {
    if (tensor.getDataType() != type) {
      throw new IllegalStateException("the tensor is " + tensor.getDataType() + ", not " + type);
    }
  }
}
