// What is built of the package: installed into a folder of its own, and used from there.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

const HERE = new URL("..", import.meta.url).pathname;
const { version } = JSON.parse(readFileSync(join(HERE, "package.json"), "utf8")) as { version: string };
let folder: string;

function run(program: string, ...args: string[]): string {
  return execFileSync(program, args, { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "webinfer-package-"));
  run("npm", "pack", "--silent", "--pack-destination", folder, HERE);
  writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module", private: true }));
  run("npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", `./webinfer-${version}.tgz`);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("it can be imported in Node", () => {
  const code = `
    import { Client, Tensor } from "webinfer";
    import { Client as Web } from "webinfer/web";
    import { PoolService } from "webinfer/v1";
    new Client("localhost:1").close();
    console.log(new Tensor(Float32Array.of(1)).type, Web.name, PoolService.typeName);`;
  writeFileSync(join(folder, "use.mjs"), code);
  expect(run("node", "use.mjs").trim()).toBe("float32 Client webinfer.v1.PoolService");
});

test("its types are there, for both ways of finding modules", () => {
  const code = `
    import { Client, type Response } from "webinfer";
    import { Client as Web } from "webinfer/web";
    export async function use(): Promise<Response> {
      const page: Web = new Web("http://localhost:1");
      page.close();
      // @ts-expect-error: there is no such input
      void new Client().infer("m", { sound: 1 });
      return await new Client().infer("m", ["x"], { parameters: { topK: 1 } });
    }`;
  writeFileSync(join(folder, "use.ts"), code);
  const tsc = join(HERE, "node_modules/.bin/tsc");
  const flags = ["--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "use.ts"];
  run(tsc, "--module", "nodenext", ...flags);
  run(tsc, "--module", "esnext", "--moduleResolution", "bundler", ...flags);
});

test("what is for pages has nothing of Node", async () => {
  const { build } = await import("esbuild");
  writeFileSync(join(folder, "page.js"), 'import { Client } from "webinfer/web"; new Client("http://x").close();');
  const entryPoints = [join(folder, "page.js")];
  const { outputFiles } = await build({ entryPoints, bundle: true, minify: true, format: "esm", write: false });
  expect(outputFiles[0]!.text).not.toMatch(/node:|from"http2"/);
});

test("the example tells what is wrong", () => {
  const example = join(HERE, "examples/neighbours.mjs");
  const fail = (...args: string[]) => {
    try {
      run("node", example, ...args);
      return "";
    } catch (error) {
      return (error as { stderr: string }).stderr;
    }
  };
  writeFileSync(join(folder, "one.txt"), "Alone.\n");
  writeFileSync(join(folder, "two.txt"), "A.\nB.\n");
  expect(run("node", example, "--help")).toContain("--address");
  expect(fail()).toContain("usage");
  expect(fail("missing.txt")).toContain("cannot be read");
  expect(fail("one.txt")).toContain("at least 2");
  expect(fail("two.txt", "--address", "127.0.0.1:1")).toContain("UNAVAILABLE");
});

test("the README has all settings", () => {
  const sources = ["src/calls.ts", "src/node.ts"].map((file) => readFileSync(join(HERE, file), "utf8")).join("\n");
  const blocks = [...sources.matchAll(/export interface (?:Node)?Settings[^{]*\{(.*?)\n\}/gs)].map(
    (found) => found[1]!,
  );
  const names = blocks.flatMap((block) => [...block.matchAll(/^  (\w+)\?:/gm)].map((found) => found[1]!));
  const table = readFileSync(join(HERE, "README.md"), "utf8").split("## Settings")[1]!.split("## Errors")[0]!;
  expect([...table.matchAll(/^\| `(\w+)`/gm)].map((found) => found[1])).toEqual(names);
});
