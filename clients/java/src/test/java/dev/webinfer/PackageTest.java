package dev.webinfer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** What the package says of itself. */
class PackageTest {
  private static final Path CARGO = Path.of("../../Cargo.toml");

  private static String first(String pattern, Path file) throws Exception {
    Matcher matcher = Pattern.compile(pattern).matcher(Files.readString(file));
    assertTrue(matcher.find(), file + " has no " + pattern);
    return matcher.group(1);
  }

  @Test
  void theVersionIsThatOfThePom() throws Exception {
    String artifact = "<artifactId>webinfer-client</artifactId>\\s*<version>([^<]+)</version>";
    assertEquals(first(artifact, Path.of("pom.xml")), WebinferClient.version());
  }

  @Test
  void theVersionIsThatOfTheService() throws Exception {
    assumeTrue(Files.exists(CARGO), "built outside the repository");
    assertEquals(first("(?m)^version = \"([^\"]+)\"", CARGO), WebinferClient.version());
  }

  @Test
  void theReadmeNamesTheVersion() throws Exception {
    assertEquals(first("<version>([^<]+)</version>", Path.of("README.md")), WebinferClient.version());
  }
}
