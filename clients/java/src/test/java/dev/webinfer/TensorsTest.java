package dev.webinfer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.webinfer.v1.DataType;
import dev.webinfer.v1.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;
import org.junit.jupiter.api.Test;

class TensorsTest {
  @Test
  void floatsGoThereAndBack() {
    FloatBuffer data = FloatBuffer.wrap(new float[] {9, 0.5f, -2, Float.MIN_VALUE}).position(1);
    Tensor tensor = Tensors.of(data, 1, 3);
    assertEquals(3, data.remaining(), "the caller's buffer was moved");
    assertArrayEquals(new long[] {1, 3}, Tensors.shape(tensor));
    FloatBuffer floats = Tensors.floats(tensor);
    assertEquals(0.5f, floats.get());
    assertEquals(-2, floats.get());
    assertEquals(Float.MIN_VALUE, floats.get());
    assertTrue(floats.isReadOnly());
    assertEquals(ByteOrder.LITTLE_ENDIAN, floats.order());
  }

  @Test
  void integersGoThereAndBack() {
    assertEquals(1L << 40, Tensors.longs(Tensors.of(LongBuffer.wrap(new long[] {1L << 40}), 1)).get(0));
    Tensor tensor = Tensors.of(IntBuffer.wrap(new int[] {-7}));
    assertEquals(-7, Tensors.ints(tensor).get(0));
    assertArrayEquals(new long[0], Tensors.shape(tensor));
    assertEquals((byte) -7, Tensors.bytes(tensor).get(0), "not little-endian");
  }

  @Test
  void bytesOfAnArrayAreNotCopied() {
    ByteBuffer data = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).position(4);
    Tensor tensor = Tensors.of(data, DataType.DATA_TYPE_FLOAT32, 1);
    data.putFloat(4, 1.5f);
    assertEquals(1.5f, Tensors.floats(tensor).get(0));
    ByteBuffer bytes = Tensors.bytes(tensor);
    assertTrue(bytes.isReadOnly());
    assertEquals(0, bytes.position());
    assertEquals(1.5f, bytes.getFloat(0));
  }

  @Test
  void anyBufferWillDo() {
    ByteBuffer data = ByteBuffer.allocateDirect(8).order(ByteOrder.LITTLE_ENDIAN).putFloat(4, 1.5f).position(4);
    assertEquals(1.5f, Tensors.floats(Tensors.of(data, DataType.DATA_TYPE_FLOAT32, 1)).get(0));
    assertEquals(1.5f, Tensors.floats(Tensors.of(data.asReadOnlyBuffer(), DataType.DATA_TYPE_FLOAT32, 1)).get(0));
    assertEquals(4, data.remaining(), "the caller's buffer was moved");
  }

  @Test
  void refusesWhatDoesNotFit() {
    ByteBuffer four = ByteBuffer.allocate(4);
    assertThrows(IllegalArgumentException.class, () -> Tensors.of(four, DataType.DATA_TYPE_FLOAT32, 2));
    assertThrows(IllegalArgumentException.class, () -> Tensors.of(four, DataType.DATA_TYPE_FLOAT32, -1));
    assertThrows(IllegalArgumentException.class, () -> Tensors.of(four, DataType.DATA_TYPE_UNSPECIFIED, 4));
    assertThrows(
        IllegalArgumentException.class,
        () -> Tensors.of(four, DataType.DATA_TYPE_FLOAT32, Long.MAX_VALUE, Long.MAX_VALUE));
    Tensor tensor = Tensors.of(four, DataType.DATA_TYPE_FLOAT32, 1);
    assertThrows(IllegalStateException.class, () -> Tensors.longs(tensor));
    assertEquals(0, Tensors.floats(Tensors.of(new float[0], 0)).remaining());
  }
}
