/** Names: of the messages' fields, and between their enums and the words that people use for them. */

import { create, type DescMessage, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
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

/** A message of what is given for its fields. Names that it does not have would be passed over in silence. */
export function checked<T extends DescMessage>(schema: T, given: MessageInitShape<T>): MessageShape<T> {
  check(schema, given);
  return create(schema, given);
}

function check(schema: DescMessage, given: unknown): void {
  const names = schema.members.map((member) => member.localName);
  if (typeof given !== "object" || given === null) {
    throw new InvalidInput(`${schema.name} is an object with ${names.join(", ")}, and not ${JSON.stringify(given)}`);
  }
  for (const [name, value] of Object.entries(given).filter(([name]) => !name.startsWith("$"))) {
    const member = schema.members.find(({ localName }) => localName === name);
    if (!member) {
      throw new InvalidInput(`${JSON.stringify(name)} is no field of ${schema.name}, which has ${names.join(", ")}`);
    }
    if (member.kind === "field" && member.message && value != null) {
      const parts = member.fieldKind === "map" ? Object.values(value) : [value].flat();
      parts.forEach((part) => check(member.message, part));
    }
  }
}
