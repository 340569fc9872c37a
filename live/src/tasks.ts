/** Tasks: what each takes, so that the page can ask for it. */

/** A way to give an item. */
export type Input = "text" | "image" | "audio" | "context" | "document" | "query" | "chat";

/** A parameter that the page asks for. */
export type Parameter = "labels" | "length" | "timestamps" | "languages";

export interface Task {
  inputs: Input[];
  parameters: Parameter[];
  /** What may be given, so that one can see an answer at once. */
  example: string;
}

const CAT = "A cat sleeps on the windowsill.";
const PEOPLE = "Ada Lovelace wrote to Charles Babbage in London.";

const task = (inputs: Input[], parameters: Parameter[] = [], example = ""): Task => ({ inputs, parameters, example });

export const TASKS: Record<string, Task> = {
  "feature-extraction": task(["text"], [], `${CAT}\nA kitten naps by the window.\nThe train leaves at nine.`),
  "text-classification": task(["text"], [], "What a lovely day!"),
  "token-classification": task(["text"], [], PEOPLE),
  "question-answering": task(["context"], [], PEOPLE),
  "fill-mask": task(["text"], [], "The capital of France is [MASK]."),
  "zero-shot-classification": task(["text"], ["labels"], "The new phone has a better camera."),
  reranking: task(["query"], [], `${CAT}\nThe train leaves at nine.`),
  "text-generation": task(["text", "chat"], ["length"], "Once upon a time"),
  "text2text-generation": task(["text"], ["length"], "translate English to German: The house is small."),
  summarization: task(["text"], ["length"]),
  translation: task(["text"], ["length", "languages"], "The house is small."),
  "image-classification": task(["image"]),
  "image-feature-extraction": task(["image"]),
  "image-segmentation": task(["image"]),
  "background-removal": task(["image"]),
  "object-detection": task(["image"]),
  "depth-estimation": task(["image"]),
  "image-to-image": task(["image"]),
  "image-to-text": task(["image"], ["length"]),
  "document-question-answering": task(["document"], ["length"]),
  "image-text-to-text": task(["chat"], ["length"], "What does this picture show?"),
  "zero-shot-image-classification": task(["image"], ["labels"]),
  "zero-shot-object-detection": task(["image"], ["labels"]),
  "audio-classification": task(["audio"]),
  "zero-shot-audio-classification": task(["audio"], ["labels"]),
  "automatic-speech-recognition": task(["audio"], ["timestamps"]),
  "text-to-audio": task(["text"], [], "Hello, this is a browser."),
  // Tensors are for programs.
  tensor: task([]),
};

/** Whether a chat of this task may have a picture. */
export function hasPicture(name: string): boolean {
  return name === "image-text-to-text";
}
