/// \file
/// Tensors: between arrays of C++ and the messages that carry them. Elements are in row-major order and little-endian.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "webinfer/error.h"
#include "webinfer/span.h"
#include "webinfer/v1/inference.pb.h"

namespace webinfer {

/// The bits of a 16-bit IEEE 754 number.
struct float16 {
  std::uint16_t bits;
};

/// The data type of an element.
template <class T>
constexpr v1::DataType data_type() {
  if constexpr (std::is_same_v<T, float>) {
    return v1::DATA_TYPE_FLOAT32;
  } else if constexpr (std::is_same_v<T, float16>) {
    return v1::DATA_TYPE_FLOAT16;
  } else if constexpr (std::is_same_v<T, std::int64_t>) {
    return v1::DATA_TYPE_INT64;
  } else if constexpr (std::is_same_v<T, std::int32_t>) {
    return v1::DATA_TYPE_INT32;
  } else if constexpr (std::is_same_v<T, std::int8_t>) {
    return v1::DATA_TYPE_INT8;
  } else if constexpr (std::is_same_v<T, std::uint8_t>) {
    return v1::DATA_TYPE_UINT8;
  } else {
    static_assert(std::is_same_v<T, bool>,
                  "elements are float, float16, std::int64_t, std::int32_t, std::int8_t, std::uint8_t or bool");
    return v1::DATA_TYPE_BOOL;
  }
}

/// Bytes of an element. Throws InvalidInput for a type that is none.
std::size_t element_size(v1::DataType type);

/// A tensor of bytes that are there already, which are not copied. Throws InvalidInput where they do not fit the shape.
v1::Tensor tensor(v1::DataType type, std::string bytes, const std::vector<std::int64_t>& shape);

/// A tensor of elements, which are copied once. Throws InvalidInput where they do not fit the shape.
template <class C, class T = std::remove_cv_t<std::remove_pointer_t<decltype(std::declval<const C&>().data())>>>
v1::Tensor tensor(const C& elements, const std::vector<std::int64_t>& shape) {
  const auto* bytes = reinterpret_cast<const char*>(elements.data());
  return tensor(data_type<T>(), std::string(bytes, elements.size() * sizeof(T)), shape);
}

/// A tensor's elements, where they are: the tensor must outlive them. Throws InvalidInput where it has another type.
template <class T>
span<const T> values(const v1::Tensor& tensor) {
  if (tensor.data_type() != data_type<T>()) {
    throw InvalidInput("the tensor has elements of " + v1::DataType_Name(tensor.data_type()) + ", not " +
                       v1::DataType_Name(data_type<T>()));
  }
  const auto& bytes = tensor.data();
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(T) != 0) {
    throw InvalidInput("the tensor's bytes are not aligned for its elements: take webinfer::copy of them");
  }
  return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
}

/// A copy of a tensor's elements. Throws InvalidInput where it has another type.
template <class T>
std::vector<T> copy(const v1::Tensor& tensor) {
  if (tensor.data_type() != data_type<T>()) {
    values<T>(tensor);  // throws
  }
  static_assert(!std::is_same_v<T, bool>, "std::vector<bool> has no elements; see values<bool>");
  std::vector<T> elements(tensor.data().size() / sizeof(T));
  std::memcpy(elements.data(), tensor.data().data(), elements.size() * sizeof(T));
  return elements;
}

}  // namespace webinfer
