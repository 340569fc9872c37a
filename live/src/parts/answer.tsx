/** Answer: each kind of output in the form that fits it. */

import {
  FinishReason,
  type Generated,
  type InferResponse,
  type ItemResult,
  type Span,
  type Transcript,
} from "../gen/webinfer/v1/inference_pb";
import { count, nameOf, time } from "../format";
import { Bars } from "./bars";
import { Vectors } from "./vectors";
import { Boxes, Masks, Canvas, Sound } from "./media";
import { depth, picture } from "../pixels";

interface Props {
  response: InferResponse;
  texts: string[];
  file: Uint8Array<ArrayBuffer> | undefined;
  documents: string;
}

export function Answer({ response, texts, file, documents }: Props) {
  const vectors = response.results.flatMap(({ output }) => (output.case === "embedding" ? [output.value.values] : []));
  if (vectors.length > 0) return <Vectors vectors={vectors} names={texts} />;
  return response.results.map((result, index) => (
    <One key={index} output={result.output} text={texts[index] ?? ""} file={file} documents={documents} />
  ));
}

type OneProps = Pick<ItemResult, "output"> & { text: string } & Pick<Props, "file" | "documents">;

function One({ output, text, file, documents }: OneProps) {
  switch (output.case) {
    case "classes":
      return <Bars bars={output.value.classes.map(({ label, score }) => ({ name: label, score }))} />;
    case "answers": {
      const { answers } = output.value;
      if (answers.length === 0) return <p class="empty">The model finds no answer.</p>;
      return <Bars bars={answers.map(({ text, score }) => ({ name: text, score }))} />;
    }
    case "fills":
      return (
        <Bars bars={output.value.fills.map(({ token, score, sequence }) => ({ name: token, score, more: sequence }))} />
      );
    case "ranking": {
      const all = documents.split("\n").filter((line) => line.trim());
      return (
        <Bars bars={output.value.documents.map(({ index, score }) => ({ name: all[index] ?? `${index}`, score }))} />
      );
    }
    case "spans":
      return <Spans text={text} spans={output.value.spans} />;
    case "generated":
      return <Made {...output.value} />;
    case "transcript":
      return <Heard {...output.value} />;
    case "detections":
      return <Boxes file={file} detections={output.value.detections} />;
    case "segments":
      return <Masks file={file} segments={output.value.segments} />;
    case "image":
      return <Canvas drawing={picture(output.value)} name="The picture that was made" />;
    case "depth":
      return <Canvas drawing={depth(output.value)} name="Depth, the nearest in yellow for most models" />;
    case "audio":
      return <Sound {...output.value} />;
    default:
      return <p class="empty">This page does not show such an answer.</p>;
  }
}

function Made({ text, finishReason, usage }: Generated) {
  const speed =
    usage && `${count(usage.generatedTokens, "token")}, the first after ${time(Number(usage.firstTokenUs))}`;
  return (
    <>
      <p class="made">{text || <span class="muted">Nothing was made.</span>}</p>
      <p class="muted">
        {speed}; ended by {nameOf(FinishReason, finishReason)}
      </p>
    </>
  );
}

function Heard({ text, chunks, language }: Transcript) {
  return (
    <>
      <p class="made">{text || <span class="muted">Nothing was heard.</span>}</p>
      {language && <p class="muted">Language: {language}</p>}
      {chunks.length > 0 && (
        <ol class="chunks">
          {chunks.map(({ text, beginS, endS }, index) => (
            <li key={index}>
              <small>
                {beginS.toFixed(1)} to {endS === undefined ? "the end" : endS.toFixed(1)} s
              </small>{" "}
              {text}
            </li>
          ))}
        </ol>
      )}
    </>
  );
}

/** The text, with what is named in it marked. */
function Spans({ text, spans }: { text: string; spans: Span[] }) {
  // Places are counted in code points.
  const points = [...text];
  const pieces: preact.ComponentChildren[] = [];
  let at = 0;
  for (const { begin, end, label, score } of spans) {
    if (begin === undefined || end === undefined || begin < at) continue;
    pieces.push(
      points.slice(at, begin).join(""),
      <mark title={score.toFixed(3)}>
        {points.slice(begin, end).join("")} <b>{label}</b>
      </mark>,
    );
    at = end;
  }
  pieces.push(points.slice(at).join(""));
  return (
    <>
      <p class="made">{pieces}</p>
      {spans.length === 0 && <p class="empty">Nothing is named in it.</p>}
      <Bars bars={spans.map(({ text, label, score }) => ({ name: `${text} (${label})`, score }))} />
    </>
  );
}
