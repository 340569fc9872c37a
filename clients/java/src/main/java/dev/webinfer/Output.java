package dev.webinfer;

import dev.webinfer.v1.Answer;
import dev.webinfer.v1.Detection;
import dev.webinfer.v1.Embedding;
import dev.webinfer.v1.Execution;
import dev.webinfer.v1.Fill;
import dev.webinfer.v1.Generated;
import dev.webinfer.v1.InferResponse;
import dev.webinfer.v1.ItemResult;
import dev.webinfer.v1.ItemResult.OutputCase;
import dev.webinfer.v1.Pixels;
import dev.webinfer.v1.RankedDocument;
import dev.webinfer.v1.Samples;
import dev.webinfer.v1.Segment;
import dev.webinfer.v1.Span;
import dev.webinfer.v1.Tensor;
import dev.webinfer.v1.Transcript;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;

/**
 * What came of one item. It is of one kind, which the model's task decides; asking for another one is an {@link
 * IllegalStateException}.
 */
public final class Output {
  private final InferResponse response;
  private final ItemResult raw;

  Output(InferResponse response, ItemResult raw) {
    this.response = response;
    this.raw = raw;
  }

  /**
   * Returns the kind of output.
   *
   * @return the kind
   */
  public OutputCase kind() {
    return raw.getOutputCase();
  }

  /**
   * Returns the vector of a text or a picture.
   *
   * @return its components, copied
   */
  public float[] embedding() {
    Embedding embedding = expect(OutputCase.EMBEDDING).getEmbedding();
    float[] values = new float[embedding.getValuesCount()];
    for (int i = 0; i < values.length; i++) {
      values[i] = embedding.getValues(i);
    }
    return values;
  }

  /**
   * Returns all outputs of a graph; {@link Tensors} reads them.
   *
   * @return tensors by name
   */
  public Map<String, Tensor> tensors() {
    return expect(OutputCase.TENSORS).getTensors().getTensorsMap();
  }

  /**
   * Returns one output of a graph; {@link Tensors} reads it.
   *
   * @param name its name
   * @return the tensor
   * @throws NoSuchElementException where the graph has no output of that name
   */
  public Tensor tensor(String name) {
    Tensor tensor = tensors().get(name);
    if (tensor == null) {
      throw new NoSuchElementException("no tensor \"" + name + "\" among " + tensors().keySet());
    }
    return tensor;
  }

  /**
   * Returns what the item is.
   *
   * @return classes, the likeliest first
   */
  public List<dev.webinfer.v1.Class> classes() {
    return expect(OutputCase.CLASSES).getClasses().getClassesList();
  }

  /**
   * Returns what is named in a text.
   *
   * @return spans, in the text's order, with their places in characters (code points)
   */
  public List<Span> spans() {
    return expect(OutputCase.SPANS).getSpans().getSpansList();
  }

  /**
   * Returns answers to a question.
   *
   * @return answers, the likeliest first; none where the model finds none
   */
  public List<Answer> answers() {
    return expect(OutputCase.ANSWERS).getAnswers().getAnswersList();
  }

  /**
   * Returns what may stand in place of the mask.
   *
   * @return words, the likeliest first
   */
  public List<Fill> fills() {
    return expect(OutputCase.FILLS).getFills().getFillsList();
  }

  /**
   * Returns a text that was made, with why it ends and what it took.
   *
   * @return the text with its record
   */
  public Generated generated() {
    return expect(OutputCase.GENERATED).getGenerated();
  }

  /**
   * Returns a text that was made, or that was spoken.
   *
   * @return the text alone
   */
  public String text() {
    return kind() == OutputCase.TRANSCRIPT ? transcript().getText() : generated().getText();
  }

  /**
   * Returns a query's documents in their order of merit.
   *
   * @return documents by their index in the query, the best first
   */
  public List<RankedDocument> ranking() {
    return expect(OutputCase.RANKING).getRanking().getDocumentsList();
  }

  /**
   * Returns the parts of a picture, each with a mask.
   *
   * @return the segments
   */
  public List<Segment> segments() {
    return expect(OutputCase.SEGMENTS).getSegments().getSegmentsList();
  }

  /**
   * Returns what a picture shows, in boxes.
   *
   * @return boxes in pixels of the picture, the likeliest first
   */
  public List<Detection> detections() {
    return expect(OutputCase.DETECTIONS).getDetections().getDetectionsList();
  }

  /**
   * Returns a picture's depth.
   *
   * @return 32-bit floats of the shape [height, width]; of most models nearer is larger
   */
  public Tensor depth() {
    return expect(OutputCase.DEPTH).getDepth();
  }

  /**
   * Returns a picture that was made.
   *
   * @return its pixels
   */
  public Pixels image() {
    return expect(OutputCase.IMAGE).getImage();
  }

  /**
   * Returns speech as text.
   *
   * @return the transcript, with language and times
   */
  public Transcript transcript() {
    return expect(OutputCase.TRANSCRIPT).getTranscript();
  }

  /**
   * Returns sound that was made; {@link Tensors#floats(Samples)} reads it.
   *
   * @return its samples
   */
  public Samples audio() {
    return expect(OutputCase.AUDIO).getAudio();
  }

  /**
   * Returns the record of what really ran this item.
   *
   * @return the record
   */
  public Execution execution() {
    return response.getExecutions(raw.getExecution());
  }

  /**
   * Returns the message as it came.
   *
   * @return the message
   */
  public ItemResult raw() {
    return raw;
  }

  @Override
  public String toString() {
    return raw.toString();
  }

  private ItemResult expect(OutputCase wanted) {
    if (kind() != wanted) {
      throw new IllegalStateException("the output is " + kind() + ", not " + wanted);
    }
    return raw;
  }
}
