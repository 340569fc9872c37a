/** Request: what becomes of what was filled in, and that the tasks are those of the service. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { empty, request, texts } from "../src/request";
import { TASKS } from "../src/tasks";

const file = new Uint8Array([1, 2, 3]);

/** The service's own table, by task. */
function table(): Record<string, { takes: string[]; parameters: string[] }> {
  const source = readFileSync(`${import.meta.dirname}/../../src/models/task.rs`, "utf8");
  const lines = [...source.matchAll(/task\("([^"]+)", "[^"]+", &\[([^\]]*)\], &\[([^\]]*)\]/g)];
  const words = (list = "") => list.split(", ").filter(Boolean);
  return Object.fromEntries(
    lines.map(([, name, takes, parameters]) => [name, { takes: words(takes), parameters: words(parameters) }]),
  );
}

test("the tasks are the service's", () => {
  const service = table();
  expect(Object.keys(service).sort()).toEqual(Object.keys(TASKS).sort());
  const kinds = { TextQuestion: "context", DocumentQuestion: "document" } as Record<string, string>;
  const asked = {
    labels: "CandidateLabels",
    length: "Generation",
    timestamps: "Transcription",
    languages: "Translation",
  };
  for (const [name, { inputs, parameters }] of Object.entries(TASKS)) {
    const takes = service[name]?.takes
      .filter((kind) => kind !== "Tensors")
      .map((kind) => kinds[kind] ?? kind.toLowerCase());
    expect(inputs, name).toEqual(takes);
    for (const parameter of parameters) expect(service[name]?.parameters, name).toContain(asked[parameter]);
  }
});

test("each task gives a request of its kind", () => {
  for (const [task, { inputs }] of Object.entries(TASKS)) {
    for (const input of inputs) {
      const made = request({
        ...empty("m", task),
        input,
        file,
        text: "one\ntwo",
        question: "what?",
        labels: "a\n b\n",
      });
      const kinds = { context: "question", document: "question" } as Record<string, string>;
      expect(made.items[0]?.input.case, task).toBe(kinds[input] ?? input);
      expect(made.items.length, task).toBe(task === "feature-extraction" ? 2 : 1);
      expect(made.parameters?.candidateLabels, task).toEqual(
        TASKS[task]?.parameters.includes("labels") ? ["a", "b"] : [],
      );
    }
  }
});

test("what is missing is named", () => {
  expect(() => request({ ...empty("m", "image-classification") })).toThrow("Give a picture.");
  expect(() => request({ ...empty("m", "text-classification"), text: " \n" })).toThrow("Give a text.");
  expect(() => request({ ...empty("m", "zero-shot-classification"), labels: "" })).toThrow("Give labels");
  expect(() => request({ ...empty("m", "reranking"), text: "" })).toThrow("Give documents");
});

test("only embeddings are made of several lines", () => {
  expect(texts({ ...empty("m", "feature-extraction"), text: "a\n\nb " })).toEqual(["a", "b"]);
  expect(texts({ ...empty("m", "summarization"), text: "a\nb" })).toEqual(["a\nb"]);
});
