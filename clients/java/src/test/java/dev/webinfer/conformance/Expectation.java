package dev.webinfer.conformance;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.util.JsonFormat;
import dev.webinfer.WebinferException;
import dev.webinfer.v1.InferRequest;
import dev.webinfer.v1.InferResponse;
import dev.webinfer.v1.Partial;
import dev.webinfer.v1.Tensor;
import io.grpc.Status;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** Compares what came with what is expected. Each check returns what is wrong, empty where nothing is. */
final class Expectation {
  /** What came of a request: an answer or an error, of which a cancelled future has no more than the code. */
  record Outcome(InferResponse response, Status.Code code, WebinferException error) {
    @Override
    public String toString() {
      return error == null ? code.name() : error.getMessage();
    }
  }

  private static final double TOLERANCE = 0.001;

  private final JsonObject expect;
  private final double tolerance;

  Expectation(JsonObject expect) {
    this(expect, expect.has("tolerance") ? expect.get("tolerance").getAsDouble() : TOLERANCE);
  }

  private Expectation(JsonObject expect, double tolerance) {
    this.expect = expect;
    this.tolerance = tolerance;
  }

  /** What is expected of one request of a stream. */
  Expectation of(String id) {
    return new Expectation(expect.getAsJsonObject("answers").getAsJsonObject(id), tolerance);
  }

  boolean wantsAnswers() {
    return expect.has("answers");
  }

  String check(InferRequest request, Outcome outcome) {
    if (expect.has("error")) {
      return error(expect.getAsJsonObject("error"), outcome);
    }
    if (outcome.response == null) {
      return "expected an answer, got " + outcome;
    }
    try {
      JsonElement actual = JsonParser.parseString(JsonFormat.printer().print(outcome.response));
      return part("response", expect.get("response"), actual, request);
    } catch (InvalidProtocolBufferException e) {
      return "the answer has no JSON form: " + e.getMessage();
    }
  }

  String partials(List<Partial> partials, InferResponse response) {
    if (!expect.has("partials")) {
      return "";
    }
    JsonObject wanted = expect.getAsJsonObject("partials");
    int least = wanted.get("at_least").getAsInt();
    if (partials.size() < least) {
      return "expected at least " + least + " partials, got " + partials.size();
    }
    if (wanted.has("text") && wanted.get("text").getAsBoolean()) {
      StringBuilder text = new StringBuilder();
      for (Partial partial : partials) {
        if (partial.getRestarted()) {
          text.setLength(0);
        }
        text.append(partial.getText());
      }
      // White space at the ends is all that they may differ in.
      String answer = response.getResults(0).getGenerated().getText();
      if (!text.toString().strip().equals(answer.strip())) {
        return "the partials have \"" + text + "\", the answer \"" + answer + "\"";
      }
    }
    return "";
  }

  private static String error(JsonObject wanted, Outcome outcome) {
    String code = wanted.get("code").getAsString();
    if (!code.equals(outcome.code.name())) {
      return "expected " + code + ", got " + outcome;
    }
    WebinferException error = outcome.error;
    if (error == null) {
      return wanted.size() == 1 ? "" : "got no details";
    }
    if (wanted.has("reason") && !wanted.get("reason").getAsString().equals(error.reason())) {
      return "expected the reason " + wanted.get("reason") + ", got " + error.reason();
    }
    if (wanted.has("fields")) {
      Set<String> fields = new HashSet<>();
      wanted.getAsJsonArray("fields").forEach(field -> fields.add(field.getAsString()));
      Set<String> actual = new HashSet<>();
      error.fields().forEach(violation -> actual.add(violation.field()));
      if (!fields.equals(actual)) {
        return "expected the fields " + fields + ", got " + actual;
      }
    }
    if (wanted.has("retry") && wanted.get("retry").getAsBoolean() != error.retryAfter().isPresent()) {
      return "expected retry " + wanted.get("retry") + ", got " + error.retryAfter();
    }
    return "";
  }

  private String part(String path, JsonElement wanted, JsonElement actual, InferRequest request) {
    if (actual == null) {
      return path + " is not there";
    }
    if (wanted instanceof JsonObject object) {
      if (!(actual instanceof JsonObject other)) {
        return path + " is no object";
      }
      for (var entry : object.entrySet()) {
        String key = entry.getKey();
        String why = part(path + "." + key, entry.getValue(), other.get(key), request);
        if (!why.isEmpty()) {
          return why;
        }
      }
      return "";
    }
    if (wanted instanceof JsonArray array) {
      if (!(actual instanceof JsonArray other) || array.size() != other.size()) {
        return path + " has not " + array.size() + " elements";
      }
      for (int i = 0; i < array.size(); i++) {
        String why = part(path + "[" + i + "]", array.get(i), other.get(i), request);
        if (!why.isEmpty()) {
          return why;
        }
      }
      return "";
    }
    return value(path, wanted.getAsJsonPrimitive(), actual, request);
  }

  private String value(String path, JsonPrimitive wanted, JsonElement actual, InferRequest request) {
    if (wanted.isString() && wanted.getAsString().equals("@any")) {
      return "";
    }
    if (!(actual instanceof JsonPrimitive other)) {
      return path + " is no single value";
    }
    if (wanted.isString() && wanted.getAsString().equals("@request")) {
      Tensor sent = request.getItems(0).getTensors().getTensorsMap().values().iterator().next();
      boolean same = other.getAsString().equals(Case.base64(sent.getData().toByteArray()));
      return same ? "" : path + " has not the bytes that were sent";
    }
    if (wanted.isNumber() && other.isNumber()) {
      double number = wanted.getAsDouble();
      boolean near = Math.abs(number - other.getAsDouble()) <= tolerance * Math.max(1, Math.abs(number));
      return near ? "" : path + ": expected " + number + ", got " + other;
    }
    String text = wanted.isString() ? Case.named(wanted.getAsString()) : wanted.getAsString();
    return text.equals(other.getAsString()) ? "" : path + ": expected " + wanted + ", got " + other;
  }
}
