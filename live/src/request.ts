/** Request: the message of what was filled in. */

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  Aggregation,
  InferRequestSchema,
  ItemSchema,
  Priority,
  Timestamps,
  type InferRequest,
  type ParametersSchema,
} from "./gen/webinfer/v1/inference_pb";
import { TASKS, type Input } from "./tasks";

/** What was filled in. */
export interface Given {
  model: string;
  task: string;
  input: Input;
  /** The text; of several items or documents one a line. */
  text: string;
  /** The question about a context or a document, or the query. */
  question: string;
  /** The bytes of a picture or of sound. */
  file: Uint8Array<ArrayBuffer> | undefined;
  /** One a line. */
  labels: string;
  length: number;
  timestamps: boolean;
  source: string;
  target: string;
}

type Item = MessageInitShape<typeof ItemSchema>;

/** What is filled in before anything was. */
export function empty(model: string, task: string): Given {
  const known = TASKS[task];
  return {
    model,
    task,
    input: known?.inputs[0] ?? "text",
    text: known?.example ?? "",
    question: QUESTIONS[known?.inputs[0] ?? "text"] ?? "",
    file: undefined,
    labels: "technology\nsports\npolitics",
    length: 64,
    timestamps: true,
    source: "",
    target: "",
  };
}

const QUESTIONS: Partial<Record<Input, string>> = {
  context: "Where did she write to him?",
  document: "What is the total?",
  query: "Where is the cat?",
};

/** The request. Throws where something is missing. */
export function request(given: Given): InferRequest {
  return create(InferRequestSchema, {
    model: given.model,
    items: items(given),
    priority: Priority.HIGH,
    parameters: parameters(given),
  });
}

/** The texts of the items that a request has. */
export function texts(given: Given): string[] {
  return given.task === "feature-extraction" ? lines(given.text) : [given.text];
}

function items(given: Given): Item[] {
  const { input, text, question } = given;
  switch (input) {
    case "text":
      need(text.trim(), "a text");
      return texts(given).map((value) => ({ input: { case: "text", value } }));
    case "image":
      return [{ input: { case: "image", value: picture(given) } }];
    case "audio": {
      const source = { case: "encoded", value: need(given.file, "a sound file") } as const;
      return [{ input: { case: "audio", value: { source } } }];
    }
    case "context": {
      need(question.trim(), "a question");
      return [{ input: { case: "question", value: { text: question, source: { case: "context", value: text } } } }];
    }
    case "document": {
      const source = { case: "document", value: picture(given) } as const;
      return [{ input: { case: "question", value: { text: need(question.trim(), "a question"), source } } }];
    }
    case "query": {
      const documents = need(lines(text), "documents, one a line");
      return [{ input: { case: "query", value: { text: need(question.trim(), "a query"), documents } } }];
    }
    case "chat": {
      const said = { part: { case: "text", value: need(text.trim(), "something to say") } } as const;
      const seen = given.file ? [{ part: { case: "image", value: picture(given) } } as const] : [];
      return [{ input: { case: "chat", value: { messages: [{ role: "user", parts: [...seen, said] }] } } }];
    }
  }
}

function picture({ file }: Given) {
  return { source: { case: "encoded", value: need(file, "a picture") } } as const;
}

function parameters(given: Given): MessageInitShape<typeof ParametersSchema> {
  const asked = TASKS[given.task]?.parameters ?? [];
  const made: MessageInitShape<typeof ParametersSchema> = {};
  if (asked.includes("labels")) made.candidateLabels = need(lines(given.labels), "labels, one a line");
  if (asked.includes("length")) made.generation = { maxNewTokens: given.length };
  if (asked.includes("timestamps") && given.timestamps) made.transcription = { timestamps: Timestamps.SEGMENTS };
  if (asked.includes("languages") && (given.source || given.target)) {
    made.translation = { sourceLanguage: given.source, targetLanguage: given.target };
  }
  // Words, and not pieces of words.
  if (given.task === "token-classification") made.aggregation = Aggregation.SIMPLE;
  return made;
}

function lines(text: string): string[] {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);
}

function need<T extends { length: number }>(value: T | undefined, what: string): T {
  if (!value?.length) throw new Error(`Give ${what}.`);
  return value;
}
