// Embeds the lines of a file with a model that runs in browsers, and prints what is nearest to each.
//
//   neighbours sentences.txt localhost:50051

#include <webinfer/webinfer.h>

#include <fstream>
#include <future>
#include <iostream>
#include <numeric>
#include <set>

namespace {

std::vector<std::string> lines(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    if (line.find_first_not_of(" \t\r") != std::string::npos) {
      lines.push_back(line);
    }
  }
  return lines;
}

// The cosine, because the service scales its vectors to unit length.
float dot(webinfer::span<const float> a, webinfer::span<const float> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0F);
}

void run(const std::vector<std::string>& sentences, const std::string& address, const std::string& model) {
  webinfer::Client client(address);
  client.models().load(model, [](const webinfer::v1::LoadResponse& step) {
    std::cerr << webinfer::v1::LoadPhase_Name(step.phase()) << ", " << step.elapsed_ms() << " ms\n";
  });

  auto stream = client.open_stream();
  std::vector<std::future<webinfer::v1::InferResponse>> answers;
  for (const auto& sentence : sentences) {
    answers.push_back(stream.send(webinfer::request(model, webinfer::input::text(sentence))));
  }
  stream.finish();

  std::vector<webinfer::v1::InferResponse> responses;
  std::set<std::string> browsers;
  for (auto& answer : answers) {
    responses.push_back(answer.get());
    const auto& execution = responses.back().executions(0);
    browsers.insert(webinfer::v1::Backend_Name(execution.backend_used()) + " in " + execution.browser() + " " +
                    execution.browser_version());
  }
  for (std::size_t self = 0; self < sentences.size(); ++self) {
    std::size_t nearest = self == 0 ? 1 : 0;
    float most = -2;
    for (std::size_t other = 0; other < sentences.size(); ++other) {
      const auto likeness = dot(webinfer::output::embedding(responses[self].results(0)),
                                webinfer::output::embedding(responses[other].results(0)));
      if (other != self && likeness > most) {
        most = likeness;
        nearest = other;
      }
    }
    std::cout << sentences[self] << "\n    " << sentences[nearest] << "\n";
  }
  for (const auto& browser : browsers) {
    std::cerr << "ran on " << browser << "\n";
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) {
    std::cerr << "usage: neighbours FILE [ADDRESS] [MODEL]\n";
    return 2;
  }
  const auto sentences = lines(arguments[1]);
  if (sentences.size() < 2) {
    std::cerr << arguments[1] << " has " << sentences.size() << " sentences; at least 2 are needed\n";
    return 1;
  }
  try {
    run(sentences, count > 2 ? arguments[2] : "localhost:50051", count > 3 ? arguments[3] : "all-MiniLM-L6-v2");
  } catch (const webinfer::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
