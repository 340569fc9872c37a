/** Build: bundles the live page into dist/, compressed as the binary carries it. */
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { build } from "esbuild";

const { outputFiles } = await build({
  entryPoints: { app: "src/main.tsx" },
  outdir: "dist",
  write: false,
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  logLevel: "warning",
});
const files = outputFiles.map(({ path, contents }) => [path.slice(path.lastIndexOf("/") + 1), contents]);
for (const name of ["index.html", "icon.svg"]) files.push([name, await readFile(`src/${name}`)]);

await rm("dist", { recursive: true, force: true });
await mkdir("dist");
for (const [name, contents] of files) {
  await writeFile(`dist/${name}.gz`, await promisify(gzip)(contents, { level: 9 }));
}
