#include <webinfer/webinfer.h>

#include <cstring>
#include <iostream>

// Ends with 0 where the library is the one of the version that is told, and calls.
int main(int, char** arguments) {
  if (std::strcmp(webinfer::version(), arguments[1]) != 0) {
    std::cerr << "the library says that it is " << webinfer::version() << "\n";
    return 1;
  }
  webinfer::ClientOptions once;
  once.max_attempts = 1;
  webinfer::Client client("localhost:1", once);
  try {
    client.embed("model", {"text"});
  } catch (const webinfer::Unavailable&) {
    return 0;
  }
  std::cerr << "somebody serves on port 1\n";
  return 1;
}
