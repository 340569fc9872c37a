/**
 * Browsers: the live page in real browsers, with a real service. It shows what there is, answers a try, asks nobody else,
 * and says when the service is gone.
 *
 * Usage: node test/browsers.mjs [chromium] [firefox]
 */
import { spawn } from "node:child_process";
import assert from "node:assert/strict";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import puppeteer from "puppeteer-core";

const ROOT = join(import.meta.dirname, "../..");
const PROGRAMS = {
  chromium: ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"],
  firefox: ["firefox-esr", "firefox"],
};
const LONGEST_MS = 60_000;

const wanted = process.argv.slice(2);
for (const kind of wanted.length > 0 ? wanted : Object.keys(PROGRAMS)) {
  const service = await serve();
  const browser = await puppeteer.launch({
    browser: kind === "chromium" ? "chrome" : kind,
    executablePath: find(PROGRAMS[kind]),
    // As root, Chromium has no sandbox; this page is our own.
    args: kind === "chromium" && process.getuid?.() === 0 ? ["--no-sandbox"] : [],
  });
  try {
    await look(browser, service);
    console.log(`${kind}: ${await browser.version()} shows what it should`);
  } finally {
    await browser.close();
    await service.end();
  }
}

async function look(browser, service) {
  const page = await browser.newPage();
  const wrong = [];
  page.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("request", (request) => {
    const url = new URL(request.url());
    // What browsers have at hand is no request.
    const isInside = ["blob:", "data:"].includes(url.protocol);
    if (!isInside && url.origin !== service.origin) wrong.push(`it asks ${url}`);
  });
  await page.evaluateOnNewDocument(() => {
    globalThis.violations = [];
    addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
      globalThis.violations.push(`${violatedDirective} ${blockedURI}`),
    );
  });
  await page.setViewport({ width: 1280, height: 900 });
  await page.goto(service.origin);
  const text = async (selector) => (await page.$eval(selector, (element) => element.innerText)).replaceAll(/\s+/g, " ");
  const until = async (what, holds, ...given) =>
    page.waitForFunction(holds, { timeout: LONGEST_MS }, ...given).catch((error) => {
      throw new Error(`${what}: ${error}`);
    });

  // What there is.
  await until("the model is ready", () => document.querySelector("#models")?.innerText.includes("ready"));
  const pool = await text("#pool");
  assert.match(pool, /Chrome \d+\.\d+.* ready/);
  assert.match(pool, /all-MiniLM-L6-v2 wasm q8 1 thread CPU/);
  assert.equal(await text("header [role=status]"), "live");

  // A try, by keys alone.
  await page.keyboard.press("t");
  assert.equal(await page.evaluate(() => document.activeElement?.tagName), "SELECT");
  await page.keyboard.press("Tab");
  await page.keyboard.down("Control");
  await page.keyboard.press("Enter");
  await page.keyboard.up("Control");
  await until("the answer comes", () => document.querySelector(".answer .record"));
  const answer = await text(".answer");
  assert.match(answer, /3 vectors of 384 dimensions/);
  assert.match(answer, /ran in Chrome/);
  await until("the charts count it", () =>
    document.querySelector("#charts [role=img]")?.ariaLabel?.includes("answered"),
  );
  await until("its model has a latency", () =>
    /\d ms|\d s/.test(document.querySelector("#models tbody")?.innerText ?? ""),
  );

  // What fails.
  await page.select("#try select", "all-MiniLM-L6-v2");
  await page.$eval("#try textarea", (area) => {
    area.value = "x".repeat(300_000);
    area.dispatchEvent(new Event("input", { bubbles: true }));
  });
  await page.click("#try button.main");
  await until("the failure is told", () => document.querySelector(".answer .error")?.innerText);
  await until("it is in the list", () => document.querySelector("#failures")?.innerText.includes("INVALID_FIELD"));
  await until("it is a finding", () =>
    document.querySelector("#findings")?.innerText.includes("failed in the last minute"),
  );

  // The theme, the help, and a phone.
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const before = await ground();
  await page.click("h1");
  await page.keyboard.press("d");
  assert.notEqual(await ground(), before);
  await page.keyboard.press("?");
  assert.ok(await page.$eval("dialog", (dialog) => dialog.open));
  await page.keyboard.press("Escape");
  await page.setViewport({ width: 360, height: 740 });
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= 360, `on a phone it is ${width} wide`);

  // Many tabs do not take one another's connections: only the one that is looked at has streams.
  const others = [];
  for (let tab = 0; tab < 4; tab++) {
    const other = await browser.newPage();
    await other.bringToFront();
    await other.goto(service.origin);
    await other.waitForSelector("#pool", { timeout: LONGEST_MS });
    others.push(other);
  }
  await Promise.all(others.map((other) => other.close()));
  await page.bringToFront();

  assert.deepEqual(wrong, []);
  // The service goes, although the page holds its streams.
  await service.end();
  await until("the page says so", () => document.querySelector(".lost")?.innerText.includes("since"));
  assert.deepEqual(await page.evaluate(() => globalThis.violations), []);
}

/** A service with a browser of its own and the model of the repository. */
async function serve() {
  const program = join(ROOT, "target/debug/webinfer");
  const ports = ["--listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", "--browser=chromium", "--drain-deadline=30s"];
  const child = spawn(program, ["serve", ...ports], { cwd: ROOT, stdio: ["ignore", "ignore", "pipe"] });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const lines = createInterface(child.stderr);
  const end = async () => {
    child.kill("SIGTERM");
    const late = setTimeout(() => child.kill("SIGKILL"), LONGEST_MS);
    await ended;
    clearTimeout(late);
  };
  const origin = await new Promise((resolve, reject) => {
    lines.on("line", (line) => {
      const found = /HTTP on (http:\S+)/.exec(line);
      if (found) resolve(found[1]);
    });
    ended.then((code) => reject(new Error(`the service ended with ${code}`)));
  });
  return { origin, end };
}

function find(names) {
  const folders = (process.env.PATH ?? "").split(delimiter);
  const isThere = (path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  };
  const found = names.flatMap((name) => folders.map((folder) => join(folder, name))).find(isThere);
  if (!found) throw new Error(`none of ${names.join(", ")} is on the PATH`);
  return found;
}
