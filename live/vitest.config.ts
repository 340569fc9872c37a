/** Vitest: the pure parts, in Node. The page as a whole is tested in browsers, with a service. */
import { defineConfig } from "vitest/config";

export default defineConfig({ test: { include: ["test/**/*.test.ts"] } });
