/** Places: words of a tokenizer in the text that it was given. */
import { expect, test } from "vitest";
import { Places } from "../src/places";

/** The stretches of the text that the words are found to be. */
function found(text: string, words: string[]): (string | undefined)[] {
  const places = new Places(text);
  const characters = [...text];
  return words.map((word) => {
    const { begin, end } = places.next(word);
    return begin === undefined ? undefined : characters.slice(begin, end).join("");
  });
}

test("words are found one after the other, whatever the tokenizer folded", () => {
  expect(found("The Café is THE one", ["the", "cafe", "the"])).toEqual(["The", "Café", "THE"]);
  expect(found("un break able", ["un", "breakable"])).toEqual(["un", "break able"]);
});

test("places are characters, not their halves", () => {
  expect(new Places("🙂🙂 ok").next("ok")).toEqual({ begin: 3, end: 5 });
  expect(new Places("e\u0301a").next("a")).toEqual({ begin: 2, end: 3 });
});

test("what is not there has no place, and does not hide what follows", () => {
  expect(found("one two", ["[UNK]", "two", "one"])).toEqual([undefined, "two", undefined]);
  expect(new Places("text").next("")).toEqual({});
  expect(new Places("").next("a")).toEqual({});
});
