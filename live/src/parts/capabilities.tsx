/** Capabilities: what each browser says that it can do. It is asked for, since it makes each browser look. */

import { useState } from "preact/hooks";
import { capabilities, inWords } from "../api";
import type { BrowserCapabilities, DetectResponse } from "../gen/webinfer/v1/capability_pb";
import { HardwareBadge } from "./badge";

const DEADLINE_MS = 60_000;

export function Capabilities() {
  const [told, setTold] = useState<DetectResponse>();
  const [state, setState] = useState("");
  const ask = async () => {
    setState("asking …");
    try {
      setTold(await capabilities.detect({}, { timeoutMs: DEADLINE_MS }));
      setState("");
    } catch (thrown) {
      setState(inWords(thrown));
    }
  };
  return (
    <div class="capabilities">
      <button type="button" onClick={ask}>
        What can the browsers do?
      </button>{" "}
      <span role="status">{state}</span>
      {told && (
        <div class="card scroll" tabIndex={0} role="region" aria-label="What the browsers can do">
          <table>
            <thead>
              <tr>
                <th scope="col">Browser</th>
                <th scope="col">WebGPU</th>
                <th scope="col">WebNN</th>
                <th scope="col">WebAssembly</th>
                <th scope="col">Sandbox</th>
              </tr>
            </thead>
            <tbody>
              {told.browsers.map((browser) => (
                <One key={browser.browserId} {...browser} />
              ))}
            </tbody>
          </table>
          <p class="muted">webinfer {told.serviceVersion}</p>
        </div>
      )}
    </div>
  );
}

function One(browser: BrowserCapabilities) {
  const { browserId, product, version, webgpu, webnn, wasmThreads, wasmSimd, wasmRelaxedSimd, wasmJspi } = browser;
  const wasm = { threads: wasmThreads, SIMD: wasmSimd, "relaxed SIMD": wasmRelaxedSimd, JSPI: wasmJspi };
  const has = Object.entries(wasm).flatMap(([name, has]) => (has ? [name] : []));
  return (
    <tr>
      <th scope="row">
        {product} {version} <small>{browserId}</small>
      </th>
      <td>
        {webgpu?.available ? <HardwareBadge hardware={webgpu.hardware} adapter={webgpu.adapter} /> : "none"}
        {webgpu && !webgpu.available && <small>{webgpu.unavailableReason}</small>}
      </td>
      <td>
        {webnn.map(({ deviceType, available, unavailableReason }) => (
          <div key={deviceType}>
            {deviceType}: {available ? "yes" : <small>{unavailableReason}</small>}
          </div>
        ))}
      </td>
      <td>
        {has.join(", ") || "plain"} <small>{browser.hardwareConcurrency} cores</small>
      </td>
      <td>{browser.sandboxed ? "on" : <span class="badge warn">off</span>}</td>
    </tr>
  );
}
