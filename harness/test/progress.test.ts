/** Progress: text that grows by tokens, with decoders that do what the library's do. */
import "./runtime";
import { expect, test, vi } from "vitest";
import { Progress } from "../src/tasks/progress";

/** Pieces by their number. Bytes of one character come apart. */
const PIECES = ["", "▁a", "▁▁b", "c", "\n", "▁\n", "\xC3", "\xA9", "<end>"];

/** As Llama's: the mark of a word is a space, and the first one goes. Special tokens are left out. */
function decode(tokens: bigint[]): string {
  const pieces = tokens.map((token) => PIECES[Number(token)]!).filter((piece) => piece !== "<end>");
  const bytes = pieces.join("").replace(/▁/g, " ").replace(/^ /, "");
  return new TextDecoder().decode(Uint8Array.from(bytes, (character) => character.charCodeAt(0)));
}

function grow(...tokens: number[]): { texts: string[]; progress: Progress; decoded: number[] } {
  const texts: string[] = [];
  const counted = vi.fn(decode);
  const progress = new Progress(counted, (_, text) => texts.push(text));
  progress.put([[99n, 98n]]);
  for (const token of tokens) progress.put([[BigInt(token)]]);
  progress.end();
  return { texts, progress, decoded: counted.mock.calls.map(([some]) => some.length) };
}

test("the prompt is no part of it, and the text grows token by token", () => {
  const { texts, progress } = grow(1, 3, 2, 8);
  expect(texts).toEqual(["a", "ac", "ac  b", "ac  b"]);
  expect(progress.tokens).toEqual([1n, 3n, 2n, 8n]);
  expect(progress.text()).toBe("ac  b");
});

test("lines that begin with spaces keep them", () => {
  const { texts, progress } = grow(1, 4, 2, 5, 1, 8, 2);
  expect(progress.text()).toBe("a\n  b \n a  b");
  expect(texts.at(-1)).toBe(progress.text());
  for (const text of texts) expect(progress.text().startsWith(text)).toBe(true);
});

test("only the last line is decoded anew", () => {
  const line = [1, 3, 3, 3, 4];
  const { decoded } = grow(...line, ...line, ...line);
  expect(Math.max(...decoded)).toBe(line.length + 1);
});

test("a character that is not whole is not told", () => {
  expect(grow(1, 6, 7).texts).toEqual(["a", "a", "aé"]);
});

test("nothing made is no text", () => {
  expect(grow().progress.text()).toBe("");
});
