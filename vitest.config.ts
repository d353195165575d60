import { defineConfig } from "vitest/config";

/** `npm test` runs everything but test/full, which `npm run test:full` adds. */
const full = process.env.TEST_FULL === "1";
/** Where to leave a JSON report as well, for `.ci/run` to count from. */
const reportFile = process.env.TEST_REPORT_FILE;

export default defineConfig({
  test: {
    include: full ? ["test/full/**/*.test.ts"] : ["test/**/*.test.ts"],
    exclude: full ? [] : ["test/full/**"],
    reporters: reportFile ? ["default", ["json", { outputFile: reportFile }]] : ["default"],
    globalSetup: ["test/support/global-setup.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: 3,
  },
});
