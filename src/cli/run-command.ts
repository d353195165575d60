import { ConfigError } from "../config.js";

/** Runs a command to its exit code. An error that a person can mend is one line, anything else has its stack. */
export async function runCommand(command: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await command();
  } catch (error) {
    console.error(error instanceof ConfigError ? error.message : error);
    process.exitCode = 1;
  }
}
