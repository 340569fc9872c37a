// Fails where src/gen is not what `npm run gen` would write.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const made = mkdtempSync(join(tmpdir(), "webinfer-gen-"));
try {
  const template = readFileSync("buf.gen.yaml", "utf8").replace("src/gen", made);
  const file = join(made, "buf.gen.yaml");
  writeFileSync(file, template);
  execFileSync("npx", ["buf", "generate", "--template", file], { stdio: "inherit" });
  rmSync(file);
  execFileSync("diff", ["-r", made, "src/gen"], { stdio: "inherit" });
} catch (error) {
  console.error(`src/gen is not what the proto files give; run npm run gen (${error.message})`);
  process.exitCode = 1;
} finally {
  rmSync(made, { recursive: true });
}
