/** Token classification: what is named in a text. */
import { Aggregation } from "../gen/webinfer/v1/inference_pb";
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import { each } from "../failure";
import { SAMPLE_TEXT, textOf } from "./inputs";
import { finite } from "./outputs";
import { task } from "./pipeline";
import { type Output, inGroups } from "./task";
import { Places } from "../places";

/** A span, as the library gives it: of a token, or of several that were aggregated. */
type Entity = { score: number; word: string } & ({ entity: string } | { entity_group: string });

/** The label of what is no name. */
const NOTHING = "O";

export const openTokenClassification = task({
  parts: "token-classification",
  batching: Batching.PADDED,
  sample: () => SAMPLE_TEXT,
  read: textOf,
  run: (pipe, all) =>
    inGroups(
      all,
      ({ parameters }) => (parameters.aggregation === Aggregation.SIMPLE ? "simple" : "none"),
      async (inputs) => {
        const simple = inputs[0]!.parameters.aggregation === Aggregation.SIMPLE;
        const texts = inputs.map(({ read }) => read);
        // All of them: what stands between two names tells them apart, and where they are.
        const options = { aggregation_strategy: simple ? "simple" : "none", ignore_labels: [] };
        const entities = await pipe(texts, options);
        return each(inputs, ({ read }, at) => spans(read, (entities as Entity[][])[at]!));
      },
    ),
});

function spans(text: string, entities: Entity[]): Output {
  const places = new Places(text);
  const found = entities.map((entity) => {
    // Word pieces that go on with a word are marked so.
    const word = entity.word.replace(/^##/, "").trim();
    const label = "entity" in entity ? entity.entity : entity.entity_group;
    return { label, score: finite(entity.score), text: word, ...places.next(word) };
  });
  return { case: "spans", value: { spans: found.filter(({ label }) => label !== NOTHING) } };
}
