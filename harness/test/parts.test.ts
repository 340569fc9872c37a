/** Parts: the library reads the large files of a model at once, after the small ones that tell which they are. */
import "./runtime";
import { env, pipeline } from "@huggingface/transformers";
import { expect, test } from "vitest";

const CONFIG = { model_type: "whisper", architectures: ["WhisperForConditionalGeneration"] };
const LARGE = ["decoder_model_merged.onnx", "encoder_model.onnx", "tokenizer.json"];

test("no part of a model waits until another has been read", async () => {
  const asked = new Set<string>();
  env.allowRemoteModels = false;
  env.allowLocalModels = true;
  env.useBrowserCache = false;
  const all = new Promise<void>((resolve) => {
    env.fetch = async (input) => {
      const path = String(input);
      const name = LARGE.find((name) => path.endsWith(`/${name}`));
      if (name) {
        asked.add(name);
        if (asked.size === LARGE.length) resolve();
        // One that is asked for only after another has come never is.
        await all;
      }
      return Response.json(path.endsWith("/config.json") ? CONFIG : {});
    };
  });
  // What was read is no graph.
  const opened = pipeline("automatic-speech-recognition", "/models/m", { device: "auto", dtype: "fp32" });
  await Promise.all([all, expect(opened).rejects.toThrow()]);
  expect([...asked].sort()).toEqual(LARGE);
});
