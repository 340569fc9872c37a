/** Log: the bounds of what a realm tells of its console. */
import { expect, test, vi } from "vitest";
import type { Body } from "../src/link";
import { Log } from "../src/log";

function opened() {
  const lines: string[] = [];
  let open = true;
  const log = new Log((body: Body) => {
    if (open && body.case === "log") lines.push(body.value.text);
    return open;
  });
  return { log, lines, setOpen: (now: boolean) => (open = now) };
}

test("a line is cut, and of a flood the first of each second are sent", () => {
  const { log, lines } = opened();
  log.add("x".repeat(1000), 0);
  expect(lines[0]).toHaveLength(500);
  for (let line = 0; line < 100; line++) log.add("more", 500);
  expect(lines).toHaveLength(20);
  log.add("next", 1000);
  expect(lines.at(-1)).toBe("(81 lines before this one are left out) next");
  log.add("after", 1000);
  expect(lines.at(-1)).toBe("after");
});

test("what is written before the link is open is sent then, up to a bound", () => {
  const { log, lines, setOpen } = opened();
  setOpen(false);
  for (let line = 0; line < 100; line++) log.add(`early ${line}`, line * 1000);
  setOpen(true);
  log.flush();
  log.flush();
  expect(lines).toHaveLength(20);
  expect(lines[19]).toBe("early 19");
});

test("warnings and errors of the console are told, and still written", () => {
  const { log, lines } = opened();
  const write = vi.spyOn(console, "warn").mockImplementation(() => {});
  log.watchConsole();
  console.warn("careful:", new TypeError("no such thing"), 7, Object.create(null));
  expect(lines).toEqual(["careful: TypeError: no such thing 7 (something without words)"]);
  expect(write).toHaveBeenCalledOnce();
});
