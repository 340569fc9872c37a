/// \file
/// What registers, loads and lists models.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "webinfer/result.h"
#include "webinfer/v1/model.pb.h"

namespace webinfer {

/// The models of a service. Each method waits, and throws an Error where the call fails.
class Models {
 public:
  /// All that are registered, in the order of their ids.
  [[nodiscard]] std::vector<v1::Model> list() const;
  /// One of them, with its state. Throws NotFound where there is none.
  [[nodiscard]] v1::Model get(const std::string& id) const;
  /// Makes a model known under the id of `spec`.
  v1::Model add(v1::ModelSpec spec) const;
  /// Loads a model until it serves, tells `progress` of each step, and returns the last one.
  v1::LoadResponse load(const std::string& id, const std::function<void(const v1::LoadResponse&)>& progress = {}) const;
  /// Frees what a model's replicas hold, and returns how many there were. It stays registered.
  std::uint32_t unload(const std::string& id) const;
  /// Takes a model away.
  void remove(const std::string& id) const;

 private:
  friend class Client;
  explicit Models(std::shared_ptr<detail::Core> core) : core_(std::move(core)) {}
  std::shared_ptr<detail::Core> core_;
};

}  // namespace webinfer
