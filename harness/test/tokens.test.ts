import "./runtime";
import { Tensor } from "@huggingface/transformers";
import { expect, test, vi } from "vitest";
import { together, tokensOf } from "../src/tasks/tokens";

function row(...ids: number[]) {
  const tensor = (values: number[]) => new Tensor("int64", BigInt64Array.from(values.map(BigInt)), [1, values.length]);
  return { input_ids: tensor(ids), attention_mask: tensor(ids.map(() => 1)) };
}

const tokenizer = (side = "right") => ({ tokenizer: { pad_token_id: 9, padding_side: side } as never });

function told(all: Record<string, Tensor>) {
  return Object.entries(all).map(([name, { dims, data }]) => [name, dims, [...(data as BigInt64Array)].map(Number)]);
}

test("texts lie side by side, filled up to the longest at the tokenizer's side", () => {
  const both = [row(1, 2, 3), row(4)];
  expect(told(together(tokenizer(), both))).toEqual([
    ["input_ids", [2, 3], [1, 2, 3, 4, 9, 9]],
    ["attention_mask", [2, 3], [1, 1, 1, 1, 0, 0]],
  ]);
  expect(told(together(tokenizer("left"), both))).toEqual([
    ["input_ids", [2, 3], [1, 2, 3, 9, 9, 4]],
    ["attention_mask", [2, 3], [1, 1, 1, 0, 0, 1]],
  ]);
});

test("a text alone is not copied", () => {
  const alone = row(1, 2);
  expect(together(tokenizer(), [alone])).toBe(alone);
});

test("a text is cut where the model cannot take more, and a pair goes in together", () => {
  const tokenizer = vi.fn();
  tokensOf({ tokenizer: tokenizer as never }, "a");
  tokensOf({ tokenizer: tokenizer as never }, "a", "b");
  expect(tokenizer.mock.calls).toEqual([
    [["a"], { truncation: true }],
    [["a"], { truncation: true, text_pair: ["b"] }],
  ]);
});
