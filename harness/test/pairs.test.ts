/** Pairs: what is cut of two texts that are too long together. */
import "./runtime";
import { expect, test, vi } from "vitest";
import { shortened } from "../src/tasks/pairs";

/** A token for each word, and three marks around two texts. */
function tokenizer(most: number) {
  const words = (text: string) => text.split(" ").filter((word) => word !== "").length;
  const count = vi.fn(([text]: string[], { text_pair }: { text_pair?: string[] } = {}) => ({
    input_ids: { dims: [1, words(text!) + (text_pair ? words(text_pair[0]!) + 3 : 2)] },
  }));
  return Object.assign(count, { model_max_length: most }) as never;
}

const LABELS = ["It is red.", "It is of a rather long colour.", "It is blue."];

test("what fits is left alone, and is not looked at where that is plain", () => {
  const plain = tokenizer(500);
  expect(shortened(plain, "one two three", LABELS, "text")).toBe("one two three");
  expect(plain).not.toHaveBeenCalled();
  expect(shortened(tokenizer(20), "one two three", LABELS, "text")).toBe("one two three");
});

test("the text is cut, until there is room for the longest of the others", () => {
  const long = Array.from({ length: 100 }, (_, at) => `w${at}`).join(" ");
  const cut = shortened(tokenizer(20), long, LABELS, "text");
  // Seven words of the longest label and three marks leave ten.
  expect(cut.trim()).toBe(Array.from({ length: 10 }, (_, at) => `w${at}`).join(" "));
});

test("where the others are cut, the text keeps at most half of the room", () => {
  const long = Array.from({ length: 100 }, (_, at) => `w${at}`).join(" ");
  expect(shortened(tokenizer(20), "a short query", [long], "others")).toBe("a short query");
  expect(shortened(tokenizer(20), long, ["x"], "others").trim().split(" ")).toHaveLength(8);
});

test("what leaves no room is refused", () => {
  const long = Array.from({ length: 100 }, (_, at) => `w${at}`).join(" ");
  expect(() => shortened(tokenizer(20), "text", [long], "text")).toThrow(/no room for the text beside "w0 w1/);
});
