/** Stops: where a text ends, and that what is told of it bit by bit comes to the same. */
import { numbers } from "./runtime";
import { expect, test } from "vitest";
import { Stops, Told } from "../src/tasks/stops";

test("the first stop counts, wherever it is in the list", () => {
  const stops = new Stops(["END", "\n\n", "."]);
  expect(stops.hold).toBe(2);
  expect(stops.find("no stop here")).toBe(-1);
  expect(stops.find("one\n\ntwo. END")).toBe(3);
  expect(new Stops([]).hold).toBe(0);
  expect(new Stops([]).find("text")).toBe(-1);
});

/** A half of a character, by itself. */
const HALF = /\p{Surrogate}/u;

/** Tells a text as it grows by pieces, and what was told at each. */
function tellAll(pieces: string[], hold = 0): string[] {
  const parts: string[] = [];
  const told = new Told((text) => parts.push(text));
  let text = "";
  for (const piece of pieces) told.upTo((text += piece), hold);
  told.all(text);
  return parts;
}

test("what could be the beginning of a stop is held back", () => {
  const parts: string[] = [];
  const told = new Told((text) => parts.push(text));
  const stops = new Stops(["STOP"]);
  for (const text of ["go", "go on", "go on ST", "go on STOP it"]) {
    const end = stops.find(text);
    if (end < 0) told.upTo(text, stops.hold);
    else told.all(text.slice(0, end));
  }
  expect(parts.join("")).toBe("go on ");
});

test("a space that may go yet is not told, and a character never in halves", () => {
  expect(tellAll(["a", " ", "b"])).toEqual(["a", " b"]);
  expect(tellAll(["do", " n", "o"])).toEqual(["do", " no"]);
  expect(tellAll(["x🙂", "y"], 1).join("")).toBe("x🙂y");
  for (const part of tellAll(["x🙂", "🙂", "y🙂"], 1)) expect(part).not.toMatch(HALF);
});

test("all parts together are the text, however it comes and whatever is held back", () => {
  const next = numbers();
  const letters = ["a", "bc", " ", "\n", "'", "n", "🙂", "é", "日本", " '", "."];
  for (let round = 0; round < 200; round++) {
    const pieces = Array.from({ length: 12 }, () => letters[Math.floor(next() * letters.length)]!);
    const parts = tellAll(pieces, Math.floor(next() * 4));
    expect(parts.join("")).toBe(pieces.join(""));
    for (const part of parts) {
      expect(part).not.toBe("");
      expect(part).not.toMatch(HALF);
    }
  }
});

test("what was told is not taken back, nor told again", () => {
  const parts: string[] = [];
  const told = new Told((text) => parts.push(text));
  told.upTo("a dog", 0);
  told.upTo("a do", 0);
  told.upTo("a cat sings", 0);
  told.all("a dog barks");
  expect(parts).toEqual(["a dog", " barks"]);
});
