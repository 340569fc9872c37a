package dev.webinfer;

import com.google.protobuf.UnsafeByteOperations;
import dev.webinfer.v1.Audio;
import dev.webinfer.v1.Chat;
import dev.webinfer.v1.ChatMessage;
import dev.webinfer.v1.Image;
import dev.webinfer.v1.Item;
import dev.webinfer.v1.Query;
import dev.webinfer.v1.Question;
import dev.webinfer.v1.Samples;
import dev.webinfer.v1.Tensor;
import dev.webinfer.v1.TensorMap;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.util.List;
import java.util.Map;

/**
 * Makes items of requests, one kind for each kind of task. Bytes of an array or of a buffer over one are not copied,
 * and must stay as they are until the call has ended.
 */
public final class Inputs {
  private Inputs() {}

  /**
   * Makes an item of a text.
   *
   * @param text the text
   * @return the item
   */
  public static Item text(String text) {
    return Item.newBuilder().setText(text).build();
  }

  /**
   * Makes an item of named tensors, for the task "tensor".
   *
   * @param tensors all inputs of the graph, by their names
   * @return the item
   */
  public static Item tensors(Map<String, Tensor> tensors) {
    return Item.newBuilder().setTensors(TensorMap.newBuilder().putAllTensors(tensors)).build();
  }

  /**
   * Makes an item of one tensor, for a graph with one input.
   *
   * @param name name of the input
   * @param tensor the tensor
   * @return the item
   */
  public static Item tensor(String name, Tensor tensor) {
    return tensors(Map.of(name, tensor));
  }

  /**
   * Makes an item of a picture.
   *
   * @param image the picture; see {@link Images}
   * @return the item
   */
  public static Item image(Image image) {
    return Item.newBuilder().setImage(image).build();
  }

  /**
   * Makes an item of a sound file's bytes, from the buffer's position to its limit. The service decodes it, mixes its
   * channels into one, and resamples it to the model's rate.
   *
   * @param encoded WAV, FLAC, MP3 or Ogg Vorbis
   * @return the item
   */
  public static Item audio(ByteBuffer encoded) {
    return Item.newBuilder()
        .setAudio(Audio.newBuilder().setEncoded(UnsafeByteOperations.unsafeWrap(encoded)))
        .build();
  }

  /**
   * Makes an item of a sound file's bytes, as {@link #audio(ByteBuffer)} does.
   *
   * @param encoded WAV, FLAC, MP3 or Ogg Vorbis
   * @return the item
   */
  public static Item audio(byte[] encoded) {
    return audio(ByteBuffer.wrap(encoded));
  }

  /**
   * Makes an item of sound of one channel. The samples are copied once.
   *
   * @param rate samples a second
   * @param samples the samples, from -1 to 1, from the buffer's position to its limit
   * @return the item
   */
  public static Item samples(int rate, FloatBuffer samples) {
    Samples.Builder sound = Samples.newBuilder().setRate(rate).setData(Tensors.littleEndian(samples));
    return Item.newBuilder().setAudio(Audio.newBuilder().setSamples(sound)).build();
  }

  /**
   * Makes an item of a conversation, which the model goes on with.
   *
   * @param messages at least one; see {@link Messages}
   * @return the item
   */
  public static Item chat(ChatMessage... messages) {
    return chat(List.of(messages));
  }

  /**
   * Makes an item of a conversation, which the model goes on with.
   *
   * @param messages at least one; see {@link Messages}
   * @return the item
   */
  public static Item chat(List<ChatMessage> messages) {
    return Item.newBuilder().setChat(Chat.newBuilder().addAllMessages(messages)).build();
  }

  /**
   * Makes an item of a question, for "question-answering".
   *
   * @param text the question
   * @param context the text that has the answer
   * @return the item
   */
  public static Item question(String text, String context) {
    return Item.newBuilder()
        .setQuestion(Question.newBuilder().setText(text).setContext(context))
        .build();
  }

  /**
   * Makes an item of a question, for "document-question-answering".
   *
   * @param text the question
   * @param document a picture of what has the answer
   * @return the item
   */
  public static Item question(String text, Image document) {
    return Item.newBuilder()
        .setQuestion(Question.newBuilder().setText(text).setDocument(document))
        .build();
  }

  /**
   * Makes an item of a query, for "reranking".
   *
   * @param text the query
   * @param documents what may answer it, at least one
   * @return the item
   */
  public static Item query(String text, List<String> documents) {
    return Item.newBuilder()
        .setQuery(Query.newBuilder().setText(text).addAllDocuments(documents))
        .build();
  }
}
