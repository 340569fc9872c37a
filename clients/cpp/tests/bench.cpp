// Does what each line of standard input asks for, and answers with a line of JSON: times in microseconds.
//
//   calls COUNT FLOATS    round trips of a tensor of the model "identity", one after the other
//
// WEBINFER_ADDRESS=localhost:50051 bench

#include <webinfer/webinfer.h>

#include <chrono>
#include <cstdlib>
#include <iostream>

int main() {
  using Clock = std::chrono::steady_clock;
  webinfer::Client client(std::getenv("WEBINFER_ADDRESS"));
  std::string what;
  for (std::int64_t count = 0, floats = 0; std::cin >> what >> count >> floats;) {
    const std::vector<float> data(static_cast<std::size_t>(floats), 1.0F);
    std::cout << "[";
    for (std::int64_t call = 0; call < count; ++call) {
      const auto begun = Clock::now();
      auto input = webinfer::input::tensor("x", webinfer::tensor(data, {floats}));
      const auto response = client.infer(webinfer::request("identity", std::move(input)));
      const auto& output = webinfer::output::tensor(response.results(0), "y");
      if (webinfer::values<float>(output).size() != data.size()) {
        return 1;
      }
      std::cout << (call == 0 ? "" : ",") << std::chrono::duration<double, std::micro>(Clock::now() - begun).count();
    }
    std::cout << "]" << std::endl;
  }
  return 0;
}
