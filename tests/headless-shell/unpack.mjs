/** Unpacks the browser of the npm package and its software GPU drivers: node unpack.mjs FOLDER */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliDecompressSync } from "node:zlib";

const [folder] = process.argv.slice(2);
if (!folder) {
  console.error("usage: node unpack.mjs FOLDER");
  process.exit(2);
}

const packed = (name) =>
  brotliDecompressSync(readFileSync(new URL(`node_modules/@sparticuz/chromium/bin/${name}.br`, import.meta.url)));

mkdirSync(folder, { recursive: true });
writeFileSync(join(folder, "headless_shell"), packed("chromium"));
execFileSync("tar", ["-x", "--no-same-owner", "-C", folder], { input: packed("swiftshader.tar") });

// The tests start it as a user of its own, so that it keeps its sandbox where they run as root.
for (const path of [folder, ...readdirSync(folder).map((name) => join(folder, name))]) {
  chmodSync(path, 0o755);
}
