import { defineConfig } from "vitest/config";
import { UnfinishedFiles } from "./test/support/unfinished-files.js";

/** `npm run test:full` adds what takes long or wants the processors to itself. */
const full = process.env.TEST_FULL === "1";
const fullOnly = ["test/full/**/*.test.ts"];
/** Where to leave a JSON report as well, for `.ci/run` to count from. */
const reportFile = process.env.TEST_REPORT_FILE;

export default defineConfig({
  test: {
    include: full
      ? [
          ...fullOnly,
          "test/faults/killed-worker.test.ts",
          "test/e2e/kill-api.test.ts",
          "test/db/*-property.test.ts",
          "test/db/conversation-drift.test.ts",
        ]
      : ["test/**/*.test.ts"],
    exclude: full ? [] : fullOnly,
    reporters: [
      "default",
      new UnfinishedFiles(),
      ...(reportFile ? [["json", { outputFile: reportFile }] as const] : []),
    ],
    globalSetup: ["test/support/global-setup.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // What is waited for comes at once on an idle machine, and late on a busy one.
    expect: { poll: { timeout: 20_000 } },
    maxWorkers: 3,
    // Loading the modules took a third of the time when every file did it anew.
    isolate: false,
  },
});
