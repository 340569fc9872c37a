/** Names: between the enums of the messages and the words that people use for them. */

import { InvalidInput } from "./errors.js";

type Enum = Record<string, string | number>;

/** What an enum's value is called: Backend.WEBNN_CPU is "webnn-cpu". */
export function nameOf(values: Enum, value: number): string {
  return String(values[value] ?? value)
    .toLowerCase()
    .replaceAll("_", "-");
}

/** The value of what is called so; 0 where nothing is said. */
export function valueOf(values: Enum, name: string | undefined): number {
  if (name === undefined) {
    return 0;
  }
  const value = values[String(name).toUpperCase().replaceAll("-", "_")];
  if (typeof value !== "number") {
    const known = Object.keys(values).filter((key) => Number.isNaN(Number(key)) && values[key] !== 0);
    throw new InvalidInput(
      `${JSON.stringify(name)} is none of ${known.map((key) => nameOf(values, values[key] as number)).join(", ")}`,
    );
  }
  return value;
}
