/**
 * Adds up what the steps of `.ci/run` did, and names what failed: arguments `name=exit status=report file`. A step that failed without a failed
 * test (the linter, a crash, a file that does not load) counts as one failure, so that zero always means success.
 */
import { existsSync, readFileSync } from "node:fs";

/** What `timeout` exits with: the step ended when told to, or had to be killed. */
const TIMED_OUT = new Set(["124", "137"]);

const total = { passed: 0, failed: 0, skipped: 0 };
for (const argument of process.argv.slice(2)) {
  const [name, status, file] = argument.split("=");
  const counts = countTests(file);
  if (status !== "0") {
    console.log(
      `${name} ${TIMED_OUT.has(status) ? "did not end in time, or was killed" : `failed with exit status ${status}`}`,
    );
    counts.failed = Math.max(counts.failed, 1);
  }
  for (const key of Object.keys(total)) total[key] += counts[key];
}
const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : "";
console.log(`${total.passed} passed, ${total.failed} failed${skipped}`);
process.exitCode = total.failed > 0 ? 1 : 0;

function countTests(file) {
  if (!existsSync(file)) return { passed: 0, failed: 0, skipped: 0 };
  const report = JSON.parse(readFileSync(file, "utf8"));
  for (const { name, message, assertionResults } of report.testResults) {
    for (const { status, fullName, failureMessages } of assertionResults)
      if (status === "failed") console.log(`FAILED ${name}: ${fullName}\n  ${firstLine(failureMessages[0])}`);
    if (message) console.log(`FAILED ${name}: ${firstLine(message)}`);
  }
  const broken = report.testResults.filter(
    ({ status, assertionResults }) =>
      status === "failed" && !assertionResults.some((test) => test.status === "failed"),
  );
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + broken.length,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

function firstLine(text = "") {
  return text.split("\n", 1)[0].slice(0, 300);
}
