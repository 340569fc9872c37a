package dev.webinfer;

import com.google.protobuf.UnsafeByteOperations;
import dev.webinfer.v1.Image;
import dev.webinfer.v1.Pixels;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Makes pictures. Bytes of an array or of a buffer over one are not copied, and must stay as they are until the call
 * has ended.
 */
public final class Images {
  private Images() {}

  /**
   * Makes a picture of a file's bytes.
   *
   * @param bytes PNG, JPEG, WebP or GIF, of which the first frame counts
   * @return the picture
   */
  public static Image encoded(byte[] bytes) {
    return encoded(ByteBuffer.wrap(bytes));
  }

  /**
   * Makes a picture of a file's bytes, from the buffer's position to its limit.
   *
   * @param bytes PNG, JPEG, WebP or GIF, of which the first frame counts
   * @return the picture
   */
  public static Image encoded(ByteBuffer bytes) {
    return Image.newBuilder().setEncoded(UnsafeByteOperations.unsafeWrap(bytes)).build();
  }

  /**
   * Reads a picture from a file.
   *
   * @param path a PNG, JPEG, WebP or GIF
   * @return the picture
   * @throws IOException where the file cannot be read
   */
  public static Image read(Path path) throws IOException {
    return encoded(Files.readAllBytes(path));
  }

  /**
   * Makes a picture of its pixels, in rows from the top, each from the left.
   *
   * @param width pixels of a row, at least 1
   * @param height rows, at least 1
   * @param channels bytes of a pixel: 1 for grey, 3 for red, green and blue, 4 with alpha
   * @param data the bytes, height * width * channels of them
   * @return the picture
   */
  public static Image pixels(int width, int height, int channels, ByteBuffer data) {
    Pixels.Builder pixels = Pixels.newBuilder().setWidth(width).setHeight(height).setChannels(channels);
    return Image.newBuilder().setPixels(pixels.setData(UnsafeByteOperations.unsafeWrap(data))).build();
  }
}
