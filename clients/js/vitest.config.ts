import { defineConfig } from "vitest/config";

// No wait of a test is longer; a test that waits in vain fails.
export default defineConfig({ test: { testTimeout: 60_000, hookTimeout: 120_000 } });
