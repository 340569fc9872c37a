// Opens a page in a real browser: serves it on loopback, starts the browser, and ends it again.

import { execFileSync, spawn } from "node:child_process";
import { accessSync, chmodSync, constants, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PROGRAMS = {
  chromium: ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"],
  firefox: ["firefox-esr", "firefox"],
};
const LONGEST_MS = 600_000;

/**
 * Opens a page and waits until it posts to `/end`.
 *
 * @param browser "chromium" or "firefox".
 * @param files What the server has, by path: a type and content, or a function that answers a request's body.
 * @returns What the page posted to `/end`.
 */
export async function open(browser, files) {
  const profile = mkdtempSync(join(tmpdir(), "webinfer-js-"));
  let end;
  const ended = new Promise((resolve, reject) => {
    end = { resolve, reject };
  });
  const server = createServer(async (request, response) => {
    const body = await text(request);
    const path = new URL(request.url, "http://x").pathname;
    if (path === "/end") {
      response.end();
      end.resolve(body);
      return;
    }
    try {
      const [type, content] = await files(path, body);
      response.writeHead(content === undefined ? 404 : 200, { "content-type": type }).end(content);
    } catch (error) {
      response.writeHead(500).end(`${error}`);
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${server.address().port}/`;
  const child = start(browser, profile, url);
  const log = [];
  child.stderr.on("data", (data) => log.push(data));
  child.on("error", (error) => end.reject(error));
  child.on("exit", (code) => end.reject(new Error(`${browser} ended with ${code}: ${Buffer.concat(log)}`)));
  const timer = setTimeout(() => end.reject(new Error(`the page did not end: ${Buffer.concat(log)}`)), LONGEST_MS);
  try {
    return await ended;
  } finally {
    clearTimeout(timer);
    server.close();
    server.closeAllConnections();
    const gone = new Promise((resolve) => child.once("exit", resolve));
    if (child.exitCode === null && child.signalCode === null) {
      // Its children are of its group.
      process.kill(-child.pid, "SIGKILL");
      await gone;
    }
    rmSync(profile, { recursive: true, force: true, maxRetries: 10 });
  }
}

function start(browser, profile, url) {
  const program = find(PROGRAMS[browser] ?? []);
  if (!program) {
    throw new Error(`no ${browser} is on the PATH: ${Object.keys(PROGRAMS).join(" or ")}`);
  }
  let options = { detached: true, stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, HOME: profile } };
  if (process.getuid?.() === 0) {
    // Browsers keep their sandbox, which none has for root.
    const [uid, gid] = ["-u", "-g"].map((flag) => Number(execFileSync("id", [flag, "nobody"])));
    execFileSync("chown", ["-R", "nobody", profile]);
    options = { ...options, uid, gid };
  }
  if (browser === "firefox") {
    const preferences = {
      "datareporting.policy.dataSubmissionEnabled": false,
      "browser.shell.checkDefaultBrowser": false,
    };
    const lines = Object.entries(preferences).map(([name, value]) => `user_pref("${name}", ${value});`);
    writeFileSync(join(profile, "user.js"), lines.join("\n"));
    return spawn(program, ["--headless", "--no-remote", "--profile", profile, url], options);
  }
  chmodSync(profile, 0o755);
  const flags = [
    "--headless=new",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
  ];
  return spawn(program, [...flags, "--disable-background-networking", `--user-data-dir=${profile}`, url], options);
}

function find(names) {
  const folders = (process.env.PATH ?? "").split(":");
  return names
    .flatMap((name) => folders.map((folder) => join(folder, name)))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

async function text(request) {
  const pieces = [];
  for await (const piece of request) {
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString();
}
