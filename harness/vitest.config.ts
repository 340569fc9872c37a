/** Vitest: the pure parts, in Node. What needs a browser is tested in browsers, through the service. */
import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: {
    alias: {
      // The runtime's tensors without its WebAssembly, and the library as browsers get it.
      "onnxruntime-web/webgpu": "onnxruntime-common",
      "@huggingface/transformers": `${import.meta.dirname}/node_modules/@huggingface/transformers/dist/transformers.web.js`,
    },
  },
  test: { include: ["test/**/*.test.ts"], server: { deps: { inline: [/transformers/] } } },
});
