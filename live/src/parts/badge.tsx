/** Badge: what a replica really runs on. */

import { Backend, Hardware } from "../gen/webinfer/v1/execution_pb";
import { nameOf } from "../format";

/** The hardware, in a word. A software adapter is no GPU, and is not to be taken for one. */
export function HardwareBadge({ hardware, adapter }: { hardware: Hardware; adapter: string }) {
  const [tone, text] = {
    [Hardware.UNSPECIFIED]: ["", "hardware not known"],
    [Hardware.CPU]: ["info", "CPU"],
    [Hardware.SOFTWARE_ADAPTER]: ["warn", "software adapter"],
    [Hardware.GPU]: ["good", "GPU"],
  }[hardware];
  return (
    <>
      <span class={`badge ${tone}`}>{text}</span> {adapter && <small class="adapter">{adapter}</small>}
    </>
  );
}

export function backendName(backend: Backend): string {
  return backend === Backend.UNSPECIFIED ? "" : nameOf(Backend, backend);
}

/** A state, in its tone. */
export function StateBadge({ state, tone }: { state: string; tone: "good" | "bad" | "warn" | "info" | "" }) {
  return <span class={`badge ${tone}`}>{state.replaceAll("-", " ")}</span>;
}
