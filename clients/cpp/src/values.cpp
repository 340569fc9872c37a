// Tensors, inputs and outputs.

#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>

#include "webinfer/input.h"
#include "webinfer/output.h"
#include "webinfer/tensor.h"

namespace webinfer {

std::size_t element_size(v1::DataType type) {
  switch (type) {
    case v1::DATA_TYPE_FLOAT32:
    case v1::DATA_TYPE_INT32:
      return 4;
    case v1::DATA_TYPE_FLOAT16:
      return 2;
    case v1::DATA_TYPE_INT64:
      return 8;
    case v1::DATA_TYPE_INT8:
    case v1::DATA_TYPE_UINT8:
    case v1::DATA_TYPE_BOOL:
      return 1;
    default:
      throw InvalidInput("the data type " + std::to_string(type) + " is not known to this client");
  }
}

v1::Tensor tensor(v1::DataType type, std::string bytes, const std::vector<std::int64_t>& shape) {
  v1::Tensor message;
  std::size_t wanted = element_size(type);
  for (const auto size : shape) {
    if (size < 0 || (size > 0 && wanted > std::numeric_limits<std::size_t>::max() / static_cast<std::size_t>(size))) {
      throw InvalidInput("a dimension of " + std::to_string(size) + " is none");
    }
    wanted *= static_cast<std::size_t>(size);
    message.add_shape(size);
  }
  if (bytes.size() != wanted) {
    throw InvalidInput("the shape takes " + std::to_string(wanted) + " bytes of " + v1::DataType_Name(type) +
                       ", and there are " + std::to_string(bytes.size()));
  }
  message.set_data_type(type);
  message.set_data(std::move(bytes));
  return message;
}

namespace input {

v1::Item text(std::string text) {
  v1::Item item;
  item.set_text(std::move(text));
  return item;
}

v1::Item tensor(std::string name, v1::Tensor tensor) {
  v1::Item item;
  (*item.mutable_tensors()->mutable_tensors())[std::move(name)] = std::move(tensor);
  return item;
}

v1::Item tensors(std::vector<std::pair<std::string, v1::Tensor>> tensors) {
  v1::Item item;
  auto& map = *item.mutable_tensors()->mutable_tensors();
  for (auto& [name, tensor] : tensors) {
    map[name] = std::move(tensor);
  }
  return item;
}

v1::Item image(std::string file) {
  v1::Item item;
  item.mutable_image()->set_encoded(std::move(file));
  return item;
}

v1::Item image(span<const std::uint8_t> pixels, std::uint32_t width, std::uint32_t height, std::uint32_t channels) {
  const auto wanted = std::uint64_t{width} * height;
  if (wanted == 0 || (channels != 1 && channels != 3 && channels != 4) || pixels.size() / channels != wanted ||
      pixels.size() % channels != 0) {
    throw InvalidInput(std::to_string(pixels.size()) + " bytes are not " + std::to_string(width) + " x " +
                       std::to_string(height) + " pixels of 1, 3 or 4 channels");
  }
  v1::Item item;
  auto& message = *item.mutable_image()->mutable_pixels();
  message.set_width(width);
  message.set_height(height);
  message.set_channels(channels);
  message.set_data(pixels.data(), pixels.size());
  return item;
}

v1::Item audio(std::string file) {
  v1::Item item;
  item.mutable_audio()->set_encoded(std::move(file));
  return item;
}

v1::Item audio(span<const float> samples, std::uint32_t rate) {
  v1::Item item;
  auto& message = *item.mutable_audio()->mutable_samples();
  message.set_rate(rate);
  message.set_data(samples.data(), samples.size() * sizeof(float));
  return item;
}

v1::Item question(std::string question, std::string context) {
  v1::Item item;
  item.mutable_question()->set_text(std::move(question));
  item.mutable_question()->set_context(std::move(context));
  return item;
}

v1::Item question_of_document(std::string question, std::string file) {
  v1::Item item;
  item.mutable_question()->set_text(std::move(question));
  item.mutable_question()->mutable_document()->set_encoded(std::move(file));
  return item;
}

v1::Item query(std::string query, std::vector<std::string> documents) {
  v1::Item item;
  item.mutable_query()->set_text(std::move(query));
  for (auto& document : documents) {
    item.mutable_query()->add_documents(std::move(document));
  }
  return item;
}

v1::Item chat(std::vector<std::pair<std::string, std::string>> messages) {
  v1::Item item;
  for (auto& [role, text] : messages) {
    auto& message = *item.mutable_chat()->add_messages();
    message.set_role(std::move(role));
    message.add_parts()->set_text(std::move(text));
  }
  return item;
}

std::string file(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  // A folder can be opened, and not be read.
  if (!stream.is_open() || std::filesystem::is_directory(path)) {
    throw InvalidInput(path + " cannot be read");
  }
  std::string bytes{std::istreambuf_iterator<char>(stream), {}};
  if (stream.bad()) {
    throw InvalidInput(path + " cannot be read");
  }
  return bytes;
}

}  // namespace input

namespace output {
namespace {

[[noreturn]] void refuse(const v1::ItemResult& result, const std::string& wanted) {
  const auto* field = v1::ItemResult::descriptor()->FindFieldByNumber(result.output_case());
  throw InvalidInput("the output is of the kind \"" + (field ? field->name() : "none") + "\", not " + wanted);
}

}  // namespace

span<const float> embedding(const v1::ItemResult& result) {
  if (!result.has_embedding()) {
    refuse(result, "embedding");
  }
  const auto& values = result.embedding().values();
  return {values.data(), static_cast<std::size_t>(values.size())};
}

const v1::Tensor& tensor(const v1::ItemResult& result, const std::string& name) {
  if (!result.has_tensors()) {
    refuse(result, "tensors");
  }
  const auto& tensors = result.tensors().tensors();
  const auto found = tensors.find(name);
  if (found == tensors.end()) {
    throw InvalidInput("there is no output \"" + name + "\"");
  }
  return found->second;
}

const std::string& text(const v1::ItemResult& result) {
  if (result.has_generated()) {
    return result.generated().text();
  }
  if (!result.has_transcript()) {
    refuse(result, "generated or transcript");
  }
  return result.transcript().text();
}

}  // namespace output
}  // namespace webinfer
