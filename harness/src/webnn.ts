/** WebNN: what the browser offers of it (W3C Web Neural Network API). */

interface Context {
  /** By operator; and what holds for all of them. */
  opSupportLimits?(): Record<string, unknown>;
  destroy?(): void;
}

interface Ml {
  createContext(options: { deviceType: string }): Promise<Context>;
}

/** What a context takes. */
export interface Limits {
  operators: string[];
  maxTensorBytes: bigint;
  preferredLayout: string;
}

/** What the limits hold beside the operators. */
const NO_OPERATORS = ["preferredInputLayout", "maxTensorByteLength", "input", "constant", "output"];

/** Nothing where the browser does not offer it to this realm. */
export function ml(): Ml | undefined {
  return (navigator as { ml?: Ml }).ml;
}

/** Makes a context, asks for its limits, and gives it back. Throws where the browser gives none. */
export async function probeContext(deviceType: string): Promise<Limits> {
  const context = await ml()?.createContext({ deviceType });
  const limits = context?.opSupportLimits?.() ?? {};
  context?.destroy?.();
  const bytes = limits["maxTensorByteLength"];
  return {
    operators: Object.keys(limits)
      .filter((name) => !NO_OPERATORS.includes(name))
      .sort(),
    maxTensorBytes: BigInt(Number.isSafeInteger(bytes) ? (bytes as number) : 0),
    preferredLayout: String(limits["preferredInputLayout"] ?? ""),
  };
}
