// Runs the cases of clients/conformance through this client: see the README there.
//
//   WEBINFER_ADDRESS=localhost:50051 conformance CASES.JSON [NAME]

#include <google/protobuf/util/json_util.h>
#include <webinfer/webinfer.h>

#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>

namespace {

using namespace webinfer;
using nlohmann::json;

const std::string kName = "cpp";
constexpr int kDefaultTimeoutMs = 30'000;

std::string base64(const std::string& bytes) {
  static const char* digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const auto byte = [&](std::size_t k) {
      return at + k < bytes.size() ? static_cast<unsigned char>(bytes[at + k]) : 0U;
    };
    const unsigned group = byte(0) << 16 | byte(1) << 8 | byte(2);
    text += digits[group >> 18 & 63];
    text += digits[group >> 12 & 63];
    text += at + 1 < bytes.size() ? digits[group >> 6 & 63] : '=';
    text += at + 2 < bytes.size() ? digits[group & 63] : '=';
  }
  return text;
}

// With all that stands for something else replaced.
json resolve(const json& value, const std::string& media) {
  if (value.is_structured()) {
    json resolved = value;
    for (auto& part : resolved) {
      part = resolve(part, media);
    }
    return resolved;
  }
  if (!value.is_string()) {
    return value;
  }
  auto text = value.get<std::string>();
  const auto rest = [&](const std::string& kind) { return text.substr(kind.size()); };
  const auto is = [&](const std::string& kind) { return text.rfind(kind, 0) == 0; };
  if (is("@file:")) {
    return base64(input::file(media + "/" + rest("@file:")));
  }
  if (is("@zeros:")) {
    return base64(std::string(std::stoul(rest("@zeros:")), '\0'));
  }
  if (is("@ramp:")) {
    std::string bytes(std::stoul(rest("@ramp:")), '\0');
    for (std::size_t at = 0; at < bytes.size(); ++at) {
      bytes[at] = static_cast<char>(at & 255);
    }
    return base64(bytes);
  }
  if (is("@letters:")) {
    return std::string(std::stoul(rest("@letters:")), 'x');
  }
  if (const auto at = text.find("{client}"); at != std::string::npos) {
    text.replace(at, std::strlen("{client}"), kName);
  }
  return text;
}

template <class Message>
Message message(const json& value, const std::string& media) {
  Message message;
  const auto status = google::protobuf::util::JsonStringToMessage(resolve(value, media).dump(), &message);
  if (!status.ok()) {
    throw std::runtime_error("a message of the case cannot be read: " + status.ToString());
  }
  return message;
}

// What came of a request.
struct Outcome {
  std::optional<v1::InferResponse> response;
  std::exception_ptr error;
};

template <class Call>
Outcome outcome(Call call) {
  try {
    return {call(), nullptr};
  } catch (const Error&) {
    return {std::nullopt, std::current_exception()};
  }
}

Outcome outcome(Result result) {
  return outcome([&] { return std::move(result).response(); });
}

// What a case expects. Each check tells what is wrong, or nothing.
class Expectation {
 public:
  explicit Expectation(const json& expect) : expect_(expect), tolerance_(expect.value("tolerance", 0.001)) {}

  [[nodiscard]] std::string check(const v1::InferRequest& request, const Outcome& actual,
                                  const std::vector<v1::Partial>& partials) const {
    if (expect_.contains("error")) {
      return error(expect_["error"], actual);
    }
    if (!actual.response) {
      try {
        std::rethrow_exception(actual.error);
      } catch (const Error& error) {
        return std::string("expected an answer, got ") + error.code_name() + ": " + error.what();
      }
    }
    std::string text;
    if (!google::protobuf::util::MessageToJsonString(*actual.response, &text).ok()) {
      return "the answer cannot be written as JSON";
    }
    const auto why = part("response", expect_["response"], json::parse(text), request);
    return why.empty() && expect_.contains("partials") ? steps(partials, *actual.response) : why;
  }

 private:
  static std::string error(const json& wanted, const Outcome& actual) {
    if (actual.response) {
      return "expected " + wanted["code"].dump() + ", got an answer";
    }
    try {
      std::rethrow_exception(actual.error);
    } catch (const Error& error) {
      const json seen = {{"code", error.code_name()},
                         {"reason", error.reason()},
                         {"fields", error.fields()},
                         {"retry", error.retry_after().has_value()}};
      for (const auto& [key, value] : wanted.items()) {
        if (seen[key] != value) {
          return key + " " + seen[key].dump() + " in place of " + value.dump() + ": " + error.what();
        }
      }
      return "";
    }
  }

  [[nodiscard]] std::string steps(const std::vector<v1::Partial>& partials, const v1::InferResponse& response) const {
    const auto& wanted = expect_["partials"];
    if (partials.size() < wanted["at_least"].get<std::size_t>()) {
      return "expected at least " + wanted["at_least"].dump() + " partials, got " + std::to_string(partials.size());
    }
    std::string text;
    for (const auto& partial : partials) {
      text = (partial.restarted() ? "" : text) + partial.text();
    }
    const auto trimmed = [](const std::string& from) {
      const auto first = from.find_first_not_of(' ');
      return first == std::string::npos ? "" : from.substr(first, from.find_last_not_of(' ') - first + 1);
    };
    if (wanted.value("text", false) && trimmed(text) != trimmed(output::text(response.results(0)))) {
      return "the partials have \"" + text + "\"";
    }
    return "";
  }

  [[nodiscard]] std::string part(const std::string& path, const json& wanted, const json& actual,
                                 const v1::InferRequest& request) const {
    if (wanted.is_object()) {
      if (!actual.is_object()) {
        return path + " is no object";
      }
      for (const auto& [key, value] : wanted.items()) {
        const auto why = part(path + "." + key, value, actual.value(key, json()), request);
        if (!why.empty()) {
          return why;
        }
      }
      return "";
    }
    if (wanted.is_array()) {
      if (!actual.is_array() || actual.size() != wanted.size()) {
        return path + " has not " + std::to_string(wanted.size()) + " elements";
      }
      for (std::size_t at = 0; at < wanted.size(); ++at) {
        const auto why = part(path + "[" + std::to_string(at) + "]", wanted[at], actual[at], request);
        if (!why.empty()) {
          return why;
        }
      }
      return "";
    }
    if (actual.is_null()) {
      return path + " is not there";
    }
    if (wanted == "@any") {
      return "";
    }
    if (wanted == "@request") {
      const auto& sent = request.items(0).tensors().tensors().begin()->second.data();
      return actual == base64(sent) ? "" : path + " has not the bytes that were sent";
    }
    if (wanted.is_number() && actual.is_number()) {
      const auto number = wanted.get<double>();
      const bool near = std::abs(number - actual.get<double>()) <= tolerance_ * std::max(1.0, std::abs(number));
      return near ? "" : path + ": expected " + wanted.dump() + ", got " + actual.dump();
    }
    // 64-bit numbers are strings in protobuf's JSON form.
    const auto plain = [](const json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); };
    return plain(wanted) == plain(actual) ? "" : path + ": expected " + wanted.dump() + ", got " + actual.dump();
  }

  const json expect_;
  const double tolerance_;
};

class Runner {
 public:
  Runner(const std::string& address, std::string media) : client_(address, options()), media_(std::move(media)) {}

  void load(const json& models) {
    for (const auto& spec : models) {
      const auto id = client_.models().add(message<v1::ModelSpec>(spec, media_)).spec().id();
      client_.models().load(id);
      models_.push_back(id);
    }
  }

  void unregister() {
    for (const auto& id : models_) {
      try {
        client_.models().remove(id);
      } catch (const NotFound&) {
        // A restarted service has forgotten it already.
      }
    }
  }

  // What is wrong, or nothing.
  std::string run(const json& one) {
    try {
      if (one.value("restart", false) && std::system(std::getenv("WEBINFER_RESTART")) != 0) {
        return "WEBINFER_RESTART has failed";
      }
      const auto call = one["call"].get<std::string>();
      return call == "infer" ? infer(one) : call == "generate" ? generate(one) : stream(one);
    } catch (const std::exception& error) {
      return error.what();
    }
  }

 private:
  static ClientOptions options() {
    ClientOptions options;
    options.client_name = kName;
    return options;
  }

  static std::chrono::milliseconds deadline(const json& one) {
    return std::chrono::milliseconds(one.value("timeout_ms", kDefaultTimeoutMs));
  }

  std::string infer(const json& one) {
    const auto request = message<v1::InferRequest>(one["request"], media_);
    const Expectation expectation(one["expect"]);
    const int times = one.value("times", 1);
    const bool cancels = one.value("cancel_after", "") == "send";
    if (times == 1 && !cancels) {
      return expectation.check(request, outcome([&] { return client_.infer(request, {deadline(one)}); }), {});
    }
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<Outcome> outcomes;
    for (int i = 0; i < times; ++i) {
      const auto call = client_.infer_async(request,
                                            [&](Result result) {
                                              const std::lock_guard lock(mutex);
                                              outcomes.push_back(outcome(std::move(result)));
                                              changed.notify_all();
                                            },
                                            {deadline(one)});
      if (cancels) {
        call.cancel();
      }
    }
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return outcomes.size() == static_cast<std::size_t>(times); });
    for (const auto& actual : outcomes) {
      const auto why = expectation.check(request, actual, {});
      if (!why.empty()) {
        return why;
      }
    }
    return "";
  }

  std::string generate(const json& one) {
    const auto request = message<v1::InferRequest>(one["request"], media_);
    std::vector<v1::Partial> partials;
    const auto actual = outcome([&] {
      auto generation = client_.generate(request, {deadline(one)});
      while (auto partial = generation.next()) {
        partials.push_back(*std::move(partial));
        if (one.value("cancel_after", "") == "first") {
          generation.cancel();
        }
      }
      return generation.response();
    });
    return Expectation(one["expect"]).check(request, actual, partials);
  }

  std::string stream(const json& one) {
    std::mutex mutex;
    std::condition_variable changed;
    std::map<std::string, v1::InferRequest> requests;
    std::map<std::string, Outcome> outcomes;
    std::vector<v1::Partial> partials;
    auto stream = client_.open_stream({deadline(one), one["requests"].size()});
    for (const auto& it : one["requests"]) {
      const auto id = it["id"].get<std::string>();
      requests[id] = message<v1::InferRequest>(it["request"], media_);
      PartialCallback partial = [&](const v1::Partial& step) {
        const std::lock_guard lock(mutex);
        partials.push_back(step);
      };
      stream.send(
          requests[id],
          [&, id](Result result) {
            const std::lock_guard lock(mutex);
            outcomes[id] = outcome(std::move(result));
            changed.notify_all();
          },
          it.value("partials", false) ? partial : nullptr);
    }
    if (one.value("cancel_after", "") == "first") {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return !outcomes.empty(); });
      stream.cancel();
    }
    const auto end = outcome([&] {
      stream.finish();
      return v1::InferResponse();
    });
    const auto& expect = one["expect"];
    if (!expect.contains("answers")) {
      return Expectation(expect).check(requests.begin()->second, end, partials);
    }
    for (const auto& [id, wanted] : expect["answers"].items()) {
      auto all = expect;
      all.erase("answers");
      all.update(wanted);
      const auto why = Expectation(all).check(requests[id], outcomes[id], partials);
      if (!why.empty()) {
        return id + ": " + why;
      }
    }
    return end.response ? "" : "the stream has failed";
  }

  Client client_;
  const std::string media_;
  std::vector<std::string> models_;
};

}  // namespace

int main(int count, char** arguments) {
  const char* address = std::getenv("WEBINFER_ADDRESS");
  if (count < 2 || address == nullptr) {
    std::cerr << "usage: WEBINFER_ADDRESS=HOST:PORT conformance CASES.JSON [NAME]\n";
    return 2;
  }
  const std::string path = arguments[1];
  const auto slash = path.rfind('/');
  const auto folder = slash == std::string::npos ? "." : path.substr(0, slash);
  const auto file = json::parse(std::ifstream(path));
  Runner runner(address, folder + "/../../tests/media");
  runner.load(file["models"]);
  bool good = true;
  for (const auto& one : file["cases"]) {
    const auto name = one["name"].get<std::string>();
    if (count > 2 && name.find(arguments[2]) == std::string::npos) {
      continue;
    }
    const auto why = runner.run(one);
    json line = {{"name", name}, {"ok", why.empty()}};
    if (!why.empty()) {
      line["why"] = why;
      good = false;
    }
    std::cout << line.dump() << std::endl;
  }
  runner.unregister();
  return good ? 0 : 1;
}
