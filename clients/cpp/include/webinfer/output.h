/// \file
/// Outputs: what came of an item. Each reader throws InvalidInput where the output is of another kind; views are of the
/// message, which must outlive them. Further kinds are the message's own: classes(), spans(), answers() and so on.
#pragma once

#include <string>

#include "webinfer/span.h"
#include "webinfer/v1/inference.pb.h"

namespace webinfer::output {

/// The vector.
span<const float> embedding(const v1::ItemResult& result);
/// One of the graph's outputs, by its name.
const v1::Tensor& tensor(const v1::ItemResult& result, const std::string& name);
/// The text that was made or heard.
const std::string& text(const v1::ItemResult& result);

}  // namespace webinfer::output
