/** Format: numbers and times, also where a unit ends. */
import { expect, test } from "vitest";
import { age, bytes, count, nameOf, number, percent, time } from "../src/format";

test.each([
  [number(0), "0"],
  [number(0.1), "0.1"],
  [number(9.996), "10"],
  [number(80.25), "80.3"],
  [number(999.4), "999"],
  [number(999.6), "1k"],
  [number(1584), "1.58k"],
  [number(2_500_000), "2.5M"],
  [time(0), "0 µs"],
  [time(999), "999 µs"],
  [time(51_200), "51.2 ms"],
  [time(999_600), "1 s"],
  [time(61_000_000), "61 s"],
  [age(59_000), "59 s"],
  [age(3_600_000), "60 min"],
  [age(-5), "0 s"],
  [bytes(512), "512 B"],
  [bytes(441 * 2 ** 20), "441 MiB"],
  [bytes(1023.9 * 2 ** 20), "1 GiB"],
  [percent(0), "0 %"],
  [percent(0.012), "1.2 %"],
  [percent(1), "100 %"],
  [count(1, "retry", "retries"), "1 retry"],
  [count(0, "retry", "retries"), "0 retries"],
  [nameOf({ 3: "WEBNN_CPU" }, 3), "webnn-cpu"],
  [nameOf({}, 9), "9"],
])("%s is %s", (is, wanted) => expect(is).toBe(wanted));
