package dev.webinfer.conformance;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.util.JsonFormat;
import dev.webinfer.v1.InferRequest;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.Map;

/** One case of the file, with what its placeholders stand for. */
record Case(JsonObject json, Path media) {
  private static final String CLIENT = "java";

  String name() {
    return json.get("name").getAsString();
  }

  String call() {
    return json.get("call").getAsString();
  }

  int times() {
    return json.has("times") ? json.get("times").getAsInt() : 1;
  }

  Duration deadline() {
    return Duration.ofMillis(json.has("timeout_ms") ? json.get("timeout_ms").getAsLong() : 30_000);
  }

  /** When the caller cancels: "send", "first", or never, which is empty. */
  String cancelAfter() {
    return json.has("cancel_after") ? json.get("cancel_after").getAsString() : "";
  }

  boolean restart() {
    return json.has("restart") && json.get("restart").getAsBoolean();
  }

  JsonObject expect() {
    return json.getAsJsonObject("expect");
  }

  InferRequest request() throws IOException {
    return parse(json.get("request"));
  }

  record Streamed(InferRequest request, boolean partials) {}

  /** The requests of a stream by their ids, in their order. */
  Map<String, Streamed> requests() throws IOException {
    Map<String, Streamed> requests = new LinkedHashMap<>();
    for (JsonElement element : json.getAsJsonArray("requests")) {
      JsonObject one = element.getAsJsonObject();
      boolean partials = one.has("partials") && one.get("partials").getAsBoolean();
      requests.put(one.get("id").getAsString(), new Streamed(parse(one.get("request")), partials));
    }
    return requests;
  }

  private InferRequest parse(JsonElement element) throws IOException {
    InferRequest.Builder request = InferRequest.newBuilder();
    merge(fill(element), request);
    return request.build();
  }

  static void merge(JsonElement element, com.google.protobuf.Message.Builder message) {
    try {
      JsonFormat.parser().merge(element.toString(), message);
    } catch (InvalidProtocolBufferException e) {
      throw new IllegalArgumentException("not a message: " + e.getMessage(), e);
    }
  }

  static String named(String text) {
    return text.replace("{client}", CLIENT);
  }

  private JsonElement fill(JsonElement element) throws IOException {
    if (element instanceof JsonObject object) {
      JsonObject filled = new JsonObject();
      for (var entry : object.entrySet()) {
        filled.add(entry.getKey(), fill(entry.getValue()));
      }
      return filled;
    }
    if (element instanceof JsonArray array) {
      JsonArray filled = new JsonArray();
      for (JsonElement one : array) {
        filled.add(fill(one));
      }
      return filled;
    }
    if (element instanceof JsonPrimitive primitive && primitive.isString()) {
      return new JsonPrimitive(fill(primitive.getAsString()));
    }
    return element;
  }

  private String fill(String text) throws IOException {
    int colon = text.indexOf(':');
    if (!text.startsWith("@") || colon < 0) {
      return named(text);
    }
    String rest = text.substring(colon + 1);
    switch (text.substring(1, colon)) {
      case "file":
        return base64(Files.readAllBytes(media.resolve(rest)));
      case "zeros":
        return base64(new byte[Integer.parseInt(rest)]);
      case "ramp":
        byte[] ramp = new byte[Integer.parseInt(rest)];
        for (int i = 0; i < ramp.length; i++) {
          ramp[i] = (byte) i;
        }
        return base64(ramp);
      case "letters":
        return "x".repeat(Integer.parseInt(rest));
      default:
        return named(text);
    }
  }

  static String base64(byte[] bytes) {
    return Base64.getEncoder().encodeToString(bytes);
  }
}
