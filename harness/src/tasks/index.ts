/** Tasks by name. */
import { openAudioClassification } from "./audio-classification";
import { openAutomaticSpeechRecognition } from "./automatic-speech-recognition";
import { openBackgroundRemoval } from "./background-removal";
import { openDepthEstimation } from "./depth-estimation";
import { openDocumentQuestionAnswering } from "./document-question-answering";
import { openFeatureExtraction } from "./feature-extraction";
import { openFillMask } from "./fill-mask";
import { openImageClassification } from "./image-classification";
import { openImageFeatureExtraction } from "./image-feature-extraction";
import { openImageSegmentation } from "./image-segmentation";
import { openImageTextToText } from "./image-text-to-text";
import { openImageToImage } from "./image-to-image";
import { openImageToText } from "./image-to-text";
import { openObjectDetection } from "./object-detection";
import { openQuestionAnswering } from "./question-answering";
import { openReranking } from "./reranking";
import type { OpenTask, Task } from "./task";
import { openTensor } from "./tensor";
import { openSummarization, openText2TextGeneration, openTranslation } from "./text2text-generation";
import { openTextClassification } from "./text-classification";
import { openTextGeneration } from "./text-generation";
import { openTextToAudio } from "./text-to-audio";
import { openTokenClassification } from "./token-classification";
import { openZeroShotAudioClassification } from "./zero-shot-audio-classification";
import { openZeroShotClassification } from "./zero-shot-classification";
import { openZeroShotImageClassification } from "./zero-shot-image-classification";
import { openZeroShotObjectDetection } from "./zero-shot-object-detection";

export const TASKS: Readonly<Record<string, (opening: OpenTask) => Promise<Task>>> = {
  "audio-classification": openAudioClassification,
  "automatic-speech-recognition": openAutomaticSpeechRecognition,
  "background-removal": openBackgroundRemoval,
  "depth-estimation": openDepthEstimation,
  "document-question-answering": openDocumentQuestionAnswering,
  "feature-extraction": openFeatureExtraction,
  "fill-mask": openFillMask,
  "image-classification": openImageClassification,
  "image-feature-extraction": openImageFeatureExtraction,
  "image-segmentation": openImageSegmentation,
  "image-text-to-text": openImageTextToText,
  "image-to-image": openImageToImage,
  "image-to-text": openImageToText,
  "object-detection": openObjectDetection,
  "question-answering": openQuestionAnswering,
  reranking: openReranking,
  summarization: openSummarization,
  tensor: openTensor,
  "text-classification": openTextClassification,
  "text-generation": openTextGeneration,
  "text-to-audio": openTextToAudio,
  "text2text-generation": openText2TextGeneration,
  "token-classification": openTokenClassification,
  translation: openTranslation,
  "zero-shot-audio-classification": openZeroShotAudioClassification,
  "zero-shot-classification": openZeroShotClassification,
  "zero-shot-image-classification": openZeroShotImageClassification,
  "zero-shot-object-detection": openZeroShotObjectDetection,
};
