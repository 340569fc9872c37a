/** Reranking: how well documents answer a query, by a model that reads both together. */
import { Batching } from "../gen/webinfer/bridge/v1/bridge_pb";
import { inputOf, SAMPLE_TEXT } from "./inputs";
import { sigmoid, softmax } from "./outputs";
import { judgePairs } from "./pairs";
import { task } from "./pipeline";
import { inTurn } from "./task";

export const openReranking = task({
  parts: "text-classification",
  batching: Batching.IN_TURN,
  sample: () => ({ text: "What runs?", documents: [SAMPLE_TEXT, SAMPLE_TEXT] }),
  read: (item) => {
    const { text, documents } = inputOf(item, "query");
    return { text, documents };
  },
  run: (pipe, inputs) =>
    inTurn<{ text: string; documents: string[] }>(async ({ read, parameters }) => {
      const logits = await judgePairs(pipe, read.text, read.documents, "others");
      // Models that were trained to rank have one output; of two, the second says that it is an answer.
      const documents = logits.map((row, index) => ({
        index,
        score: row.length === 1 ? sigmoid(row[0]!) : softmax(row)[1]!,
      }));
      documents.sort((left, right) => right.score - left.score);
      return { case: "ranking", value: { documents: documents.slice(0, parameters.topK ?? documents.length) } };
    })(inputs),
});
