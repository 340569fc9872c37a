// The cases with the client for pages: node test/conformance/web.mjs chromium|firefox CASES.JSON [NAME]

import { build } from "esbuild";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { promisify } from "node:util";
import { open } from "../browser.mjs";

const HERE = new URL(".", import.meta.url);
const MEDIA = new URL("../../../../tests/media/", HERE);
const [browser, cases, name = ""] = process.argv.slice(2);
const bundle = await build({
  entryPoints: [new URL("page.mjs", HERE).pathname],
  bundle: true,
  format: "esm",
  write: false,
});
const address = `http://${process.env.WEBINFER_ADDRESS}`;
const told = { file: JSON.parse(readFileSync(cases, "utf8")), name, client: `js-${browser}`, address };

const end = await open(browser, async (path, body) => {
  switch (path) {
    case "/":
      return [
        "text/html",
        '<!doctype html><meta charset="utf-8"><title>cases</title><script type="module" src="/page.js"></script>',
      ];
    case "/page.js":
      return ["text/javascript", bundle.outputFiles[0].contents];
    case "/cases":
      return ["application/json", JSON.stringify(told)];
    case "/line":
      console.log(body);
      return ["text/plain", ""];
    case "/restart":
      await promisify(execFile)("sh", ["-c", process.env.WEBINFER_RESTART], { timeout: 300_000 });
      return ["text/plain", ""];
    default:
      if (path.startsWith("/media/")) {
        return ["application/octet-stream", readFileSync(new URL(basename(path), MEDIA))];
      }
      return ["text/plain", undefined];
  }
});
if (end !== "ok") {
  console.error(end);
  process.exitCode = 1;
}
