/** Languages: those that a model does not know are refused by name. */
import { expect, test } from "vitest";
import { FailureKind } from "../src/gen/webinfer/bridge/v1/bridge_pb";
import { checkLanguage } from "../src/tasks/languages";

const refused = (message: string) => expect.objectContaining({ kind: FailureKind.BAD_INPUT, message });

test("what is known passes, and what is not is told with what is", () => {
  checkLanguage("de", ["en", "de"]);
  const message = 'the model does not know the language "xx"; it knows en, de';
  expect(() => checkLanguage("xx", ["en", "de"])).toThrow(refused(message));
});

test("of many languages only some are listed", () => {
  const many = Array.from({ length: 202 }, (_, at) => `l${at}`);
  expect(() => checkLanguage("xx", many)).toThrow(/it knows l0, .*, l19 and 182 more$/);
});
