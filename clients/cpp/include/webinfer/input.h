/// \file
/// Inputs: the items that requests are made of.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "webinfer/span.h"
#include "webinfer/v1/inference.pb.h"

namespace webinfer::input {

/// A text, in UTF-8.
v1::Item text(std::string text);
/// A tensor, the graph's only input.
v1::Item tensor(std::string name, v1::Tensor tensor);
/// Tensors by the names of the graph's inputs.
v1::Item tensors(std::vector<std::pair<std::string, v1::Tensor>> tensors);
/// A picture: a PNG, JPEG, WebP or GIF file.
v1::Item image(std::string file);
/// A picture: pixels in rows from the top, of 1, 3 or 4 channels. Throws InvalidInput where there are more or fewer.
v1::Item image(span<const std::uint8_t> pixels, std::uint32_t width, std::uint32_t height, std::uint32_t channels);
/// Sound: a WAV, FLAC, MP3 or Ogg Vorbis file.
v1::Item audio(std::string file);
/// Sound: samples of one channel from -1 to 1, and how many a second.
v1::Item audio(span<const float> samples, std::uint32_t rate);
/// A question, and the text that has the answer.
v1::Item question(std::string question, std::string context);
/// A question, and the picture of the document that has the answer.
v1::Item question_of_document(std::string question, std::string file);
/// A query, and the documents to rank by how well they answer it.
v1::Item query(std::string query, std::vector<std::string> documents);
/// A conversation: who says what, such as {{"user", "Why is the sky blue?"}}.
v1::Item chat(std::vector<std::pair<std::string, std::string>> messages);

/// The bytes of a file. Throws InvalidInput where it cannot be read.
std::string file(const std::string& path);

}  // namespace webinfer::input
