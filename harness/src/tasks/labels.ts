/** Labels: what the zero-shot tasks have in common. */
import { create } from "@bufbuild/protobuf";
import { type Parameters, ParametersSchema } from "../gen/webinfer/v1/inference_pb";

/** The sentence about each label. */
export function hypotheses({ candidateLabels, hypothesisTemplate }: Parameters, template: string): string[] {
  return candidateLabels.map((label) => (hypothesisTemplate || template).replace("{}", () => label));
}

/** By what inputs are told apart that cannot share a run. */
export function labelsKey({ parameters }: { parameters: Parameters }): string {
  return JSON.stringify([parameters.candidateLabels, parameters.hypothesisTemplate]);
}

/** With what such a task warms up. */
export function sampleLabels(): Parameters {
  return create(ParametersSchema, { candidateLabels: ["one", "another"] });
}
