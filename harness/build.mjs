/**
 * Build: bundles the page and its workers into dist/, the bench page into dist-bench/, and workers that answer wrongly, for
 * tests, into dist-wrong/.
 */
import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { build } from "esbuild";

/**
 * Builds of the runtime. The plain one has no GPU; it loads in two thirds of the time and runs a single text faster. The
 * worker on WebNN has a name of its own, by which the service gives it another content security policy.
 */
const RUNTIMES = {
  wasm: { entry: "onnxruntime-web/wasm", files: "ort-wasm-simd-threaded" },
  webgpu: { entry: "onnxruntime-web/webgpu", files: "ort-wasm-simd-threaded.asyncify" },
  webnn: { entry: "onnxruntime-web/webgpu", files: "ort-wasm-simd-threaded.asyncify" },
};
/** Those that only benches run. */
const OTHERS = {
  jspi: { entry: "onnxruntime-web/jspi", files: "ort-wasm-simd-threaded.jspi" },
  jsep: { entry: "onnxruntime-web", files: "ort-wasm-simd-threaded.jsep" },
};
const ORT_DIST = "node_modules/onnxruntime-web/dist";

const version = async (name) => JSON.parse(await readFile(`node_modules/${name}/package.json`, "utf8")).version;
const define = {
  TRANSFORMERS_VERSION: JSON.stringify(await version("@huggingface/transformers")),
  ONNXRUNTIME_VERSION: JSON.stringify(await version("onnxruntime-web")),
};
const common = {
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "none",
  logLevel: "warning",
  // Leaves the runtime's script outside the bundle: its threads start from that small file, not from the whole worker.
  conditions: ["onnxruntime-web-use-extern-wasm"],
};

const page = (entry, outfile) => build({ ...common, entryPoints: [entry], outfile });

/** One bundle of a worker for each build of the runtime. The library and the tasks then share one copy of it. */
const workers = (entry, out, runtimes = RUNTIMES) =>
  Promise.all(
    Object.entries(runtimes).map(([backend, { entry: runtime, files }]) =>
      build({
        ...common,
        entryPoints: [entry],
        outfile: `${out}-${backend}.js`,
        define: { ...define, ORT_FILES: JSON.stringify(files) },
        alias: { "onnxruntime-web/webgpu": runtime, "onnxruntime-common": runtime },
      }),
    ),
  );

/** The binary carries the page compressed, and hands it out so: a third of the size, on disk and in memory. */
async function compress(folder) {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = join(entry.parentPath ?? entry.path, entry.name);
    await writeFile(`${file}.gz`, await promisify(gzip)(await readFile(file), { level: 9 }));
    await rm(file);
  }
}

for (const [folder, runtimes] of [
  ["dist", RUNTIMES],
  ["dist-bench", { ...RUNTIMES, ...OTHERS }],
]) {
  await rm(folder, { recursive: true, force: true });
  await mkdir(`${folder}/ort`, { recursive: true });
  for (const { files } of Object.values(runtimes)) {
    for (const ext of ["mjs", "wasm"]) await cp(`${ORT_DIST}/${files}.${ext}`, `${folder}/ort/${files}.${ext}`);
  }
}
await page("src/page.ts", "dist/page.js");
await page("src/probe.ts", "dist/probe.js");
await workers("src/worker.ts", "dist/worker");
await cp("src/page.html", "dist/page.html");
await compress("dist");

// Only what differs: the rest is the page's own.
await rm("dist-wrong", { recursive: true, force: true });
await workers("wrong/worker.ts", "dist-wrong/worker");
await compress("dist-wrong");

await page("bench/bare.ts", "dist-bench/bare.js");
await workers("bench/bare-worker.ts", "dist-bench/bare-worker", { ...RUNTIMES, ...OTHERS });
await cp("bench/bare.html", "dist-bench/bare.html");
